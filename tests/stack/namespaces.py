"""Two machines in one: network namespaces with nothing in common but a cable, as `ip netns` and veth make them."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.demo.place import CHECKOUT, plain_environment

HERE, THERE = "192.0.2.1", "192.0.2.2"  # for documentation (RFC 5737), so nobody's; and no packet leaves the cable


@dataclass(frozen=True)
class Namespace:
    name: str

    def inside(self, *command):
        """The same process, started in here: `ip netns exec` becomes the command."""
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command, timeout, env=None):
        """What the command printed."""
        env = env or plain_environment()
        done = subprocess.run(
            self.inside(*command), env=env, cwd=CHECKOUT, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise OSError(f"{' '.join(command[:3])} failed in {self.name}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def set(self, variable, value):
        self.run("sh", "-c", f"echo '{value}' >/proc/sys/net/ipv4/{variable}", timeout=20)

    def time_wait(self):
        """How many connections are in TIME_WAIT, each with the port that it had."""
        lines = self.run("cat", "/proc/net/sockstat", timeout=20).splitlines()
        words = next(line for line in lines if line.startswith("TCP:")).split()
        return int(words[words.index("tw") + 1])

    def time_wait_to(self, address):
        peers = self.run("ss", "-Htn", "state", "time-wait", "dst", address, timeout=20)
        return len(peers.splitlines())


@contextmanager
def two_namespaces():
    """One at HERE, one at THERE; OSError where this machine does not let us have them."""
    with _namespace(f"authsvc-{os.getpid()}-here") as here, _namespace(f"authsvc-{os.getpid()}-there") as there:
        _ip("link", "add", "cable", "netns", here.name, "type", "veth", "peer", "name", "cable", "netns", there.name)
        for end, address in ((here, HERE), (there, THERE)):
            _ip("-n", end.name, "address", "add", f"{address}/30", "dev", "cable")
            _ip("-n", end.name, "link", "set", "cable", "up")
            _ip("-n", end.name, "link", "set", "lo", "up")
        yield here, there


@contextmanager
def _namespace(name):
    """Its ends of cables, its sockets and its settings go with it."""
    _ip("netns", "add", name)
    try:
        yield Namespace(name)
    finally:
        _ip("netns", "del", name)


def _ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise OSError(f"`ip {' '.join(arguments)}`: {done.stderr.strip()}")
