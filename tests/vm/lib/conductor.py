# SPDX-License-Identifier: GPL-2.0
"""How the clients' VM of a scenario has its servers do things: each thing is a method of a server's node."""

import json
import os

import harness
from ktap import check, done
from nfs import wait_until


class Servers:
    """The servers, as the clients' VM sees them. They have booted `first`."""

    def __init__(self, names):
        self.boots = dict.fromkeys(names, "first")
        self.asked = {}
        for name in names:
            harness.get(f"{name}-first-up")

    def tell(self, server, *words):
        """Has a server do something; does not wait for it."""
        key = (server, self.boots[server])
        self.asked[key] = self.asked.get(key, 0) + 1
        harness.put(f"{server}-{self.boots[server]}-{self.asked[key]}", " ".join(words))

    def answer(self, server):
        """Waits for what the server was told last, and returns its answer."""
        boot = self.boots[server]
        answer = json.loads(harness.get(f"{server}-{boot}-{self.asked[server, boot]}-answer"))
        answer = {} if answer is None else answer
        if isinstance(answer, dict) and "error" in answer:
            check(f"{server} does what it is told", False, answer["error"])
        return answer

    def ask(self, server, *words):
        """Has a server do something, and returns its answer."""
        self.tell(server, *words)
        return self.answer(server)

    def boot(self, server, name):
        """Boots a server whose power is cut, and waits until it serves."""
        harness.kill(server, name)
        self.boots[server] = name
        harness.get(f"{server}-{name}-up")

    def await_grace(self):
        """Waits until no server is in its own grace period."""
        for server in self.boots:
            assert wait_until(lambda name=server: not self.ask(name, "in_grace"), 60, 0.5), server

    def end(self):
        """Tells all that the test is over."""
        for server in self.boots:
            self.tell(server, "end")


def serve(name, node):
    """A server: does what it is told, until the test is over."""
    boot = harness.STAGE or "first"
    harness.put(f"{name}-{boot}-up")
    asked = 0
    while True:
        asked += 1
        words = harness.get(f"{name}-{boot}-{asked}").split()
        if words[0] == "end":
            break
        try:
            answer = getattr(node, words[0])(*words[1:])
        # pylint: disable-next=broad-exception-caught
        except Exception as e:
            answer = {"error": repr(e)}
        harness.put(f"{name}-{boot}-{asked}-answer", json.dumps(answer))
    check(f"server {name} has done all", os.path.exists("/proc/fs/nfsd/threads"))
    done()
