# SPDX-License-Identifier: GPL-2.0
"""The daemons that keep a server's records: nfsdcld of nfs-utils, and nfsd-had.

A test that takes the word daemon=nfsd-had runs with that; else with nfsdcld.
"""

import contextlib
import sqlite3
import sys


class Nfsdcld:
    """nfsdcld: a table for each epoch."""

    name = "nfsdcld"
    version = 2  # of the upcall

    def __init__(self, state):
        self.file = f"{state}/main.sqlite"
        self.words = f"-s {state}"

    def command(self, pipefs):
        """What starts it."""
        return f"nfsdcld -F {self.words} -p {pipefs}"

    def set_journal(self, mode="WAL"):
        """Sets the database's journal mode, while the daemon does not run. In WAL, the last record is there after a power
        cut: docs/nfsdcld.md."""
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            db.execute(f"PRAGMA journal_mode={mode}")

    def records(self):
        """The names on record, as bytes: those of the current epoch, and of the one that may reclaim."""
        with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")  # the daemon may begin another epoch meanwhile
            epochs = db.execute("SELECT current, recovery FROM grace").fetchone()
            return [[bytes(row[0]) for row in db.execute(f'SELECT id FROM "rec-{epoch:016x}"')] if epoch else []
                    for epoch in epochs]

    def forget(self, name):
        """Deletes a client's record behind its back."""
        with contextlib.closing(sqlite3.connect(self.file, isolation_level=None)) as db:
            for (table,) in db.execute(
                    "SELECT name FROM sqlite_master WHERE name LIKE 'rec-%'").fetchall():
                db.execute(f'DELETE FROM "{table}" WHERE instr(CAST(id AS TEXT), ?)', (name,))


class NfsdHad:
    """nfsd-had: one table, with the epoch of each client."""

    name = "nfsd-had"
    version = 3

    def __init__(self, state):
        self.file = f"{state}/records.sqlite"

    def command(self, pipefs):
        """What starts it."""
        return f"/test/nfsd-had -F --records {self.file} --pipefs {pipefs}"

    def records(self):
        """As Nfsdcld.records(); a client that has reclaimed is in the current epoch only."""
        with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")
            last, ended = db.execute("SELECT coalesce(max(epoch), 0), coalesce(max(epoch) FILTER "
                                     "(WHERE ended IS NOT NULL), 0) FROM epochs").fetchone()
            rows = db.execute("SELECT name, epoch FROM clients WHERE epoch >= ?", (ended,)).fetchall()
            return [[bytes(name) for name, epoch in rows if (epoch == last) == current]
                    for current in (True, False)]

    def forget(self, name):
        """Deletes a client's record behind its back."""
        with contextlib.closing(sqlite3.connect(self.file, isolation_level=None)) as db:
            db.execute("DELETE FROM clients WHERE instr(CAST(name AS TEXT), ?)", (name,))


KINDS = {kind.name: kind for kind in (Nfsdcld, NfsdHad)}


def wanted():
    """The one that the test's words ask for."""
    words = [word.split("=")[1] for word in sys.argv[1:] if word.startswith("daemon=")]
    return KINDS[words[-1] if words else "nfsdcld"]
