# SPDX-License-Identifier: GPL-2.0
"""What the workers of a fail-over write while they work: a line for each thing done, with begin, end and more words."""


class Worklog:
    """A worker's log. Each line is read once: it grows all the time, and is looked at again and again."""

    def __init__(self, path):
        self.path = path
        self.read, self.entries = 0, []

    def since(self, time=0.0):
        """What ended after a time: begin, end and the other words of each line. Nothing if there is no log yet."""
        try:
            with open(self.path, encoding="ascii") as f:
                f.seek(self.read)
                for line in f:
                    # The last one may not be whole yet.
                    if line.endswith("\n"):
                        begin, end, *more = line.split()
                        self.entries.append((float(begin), float(end), *more))
                        self.read += len(line)
        except FileNotFoundError:
            pass
        return [entry for entry in self.entries if entry[1] > time]
