# SPDX-License-Identifier: GPL-2.0
"""What the clients of exports that move write: records with their numbers."""


def record(number):
    """The record of a number."""
    return f"{number:015}\n"
