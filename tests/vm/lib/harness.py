# SPDX-License-Identifier: GPL-2.0
"""What a test asks of the harness: to reset its VM, and to talk to the others of its scenario."""

import os
import time

_CHANNEL = 3

STAGE = os.environ.get("VM_STAGE", "")


def _send(text):
    os.write(_CHANNEL, f"@{text}\n".encode())


def reset(stage):
    """Cuts the power; the test starts again with STAGE set. Only disks survive."""
    _send(f"reset {stage}")
    time.sleep(1000)


def put(key, value="yes"):
    """Publishes a value for the other VMs."""
    _send(f"set {key} {value}")


def get(key):
    """Waits for a value, and returns it."""
    _send(f"wait {key}")
    return _answer()


def clock():
    """Seconds in which the test's VMs could go on: less what they waited for a CPU of the host.

    For a bound of how long something takes, which a busy host does not make any longer. Not while
    another thread waits for a value.
    """
    _send("clock")
    return float(_answer())


def _answer():
    answer = b""
    while not answer.endswith(b"\n"):
        answer += os.read(_CHANNEL, 4096)
    return answer.decode().strip()


def kill(name, stage=""):
    """Cuts another VM's power; with a stage it boots again, with STAGE set."""
    _send(f"kill {name} {stage}".strip())


def allow(text):
    """Kernel reports that contain this text do not fail the test."""
    _send(f"allow {text}")
