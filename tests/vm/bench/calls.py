# SPDX-License-Identifier: GPL-2.0
"""How long the calls of one kernel function take, by the kernel's function_graph tracer."""

import re

from nfs import sh

_TRACING = "/sys/kernel/tracing"
# "  1) + 12.345 us   |  function [module]();"
_LINE = re.compile(r"\)\s+[^\d\s]?\s*([\d.]+) us\s+\|\s+(\w+)")


def _write(file, text):
    with open(f"{_TRACING}/{file}", "w", encoding="ascii") as f:
        f.write(text)


class Calls:
    """In a with statement: afterwards `times` has the microseconds of each call."""

    def __init__(self, function):
        self.function, self.times = function, []

    def __enter__(self):
        # The filter, too: else every function of the kernel would be slower.
        _write("set_ftrace_filter", self.function)
        _write("set_graph_function", self.function)
        _write("max_graph_depth", "1")
        _write("current_tracer", "function_graph")
        _write("trace", "")
        return self

    def __exit__(self, *_):
        for line in sh(f"cat {_TRACING}/trace").splitlines():
            found = _LINE.search(line)
            if found and found[2] == self.function:
                self.times.append(float(found[1]))
        _write("current_tracer", "nop")
        _write("set_graph_function", "")
        _write("set_ftrace_filter", "")
