"""Let's Encrypt's test server, and a DNS server for it in which every name is this machine."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import accepts, free_port, running, wait_until

PROGRAMS = ("pebble", "pebble-challtestsrv", "openssl")


def is_installed() -> bool:
    return all(shutil.which(program) for program in PROGRAMS)


@dataclass(frozen=True)
class Pebble:
    folder: Path
    directory: str
    management: int
    tls_port: int

    def root(self) -> str:
        """The root that browsers would trust if pebble were a real authority; new at every start."""
        ours = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        with urllib.request.urlopen(f"https://localhost:{self.management}/roots/0", context=ours, timeout=10) as answer:
            return str(answer.read().decode())

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.root())


@contextmanager
def pebble(folder: Path, tls_port: int) -> Iterator[Pebble]:
    """It validates a name by asking port `tls_port` of this machine for the challenge's certificate."""
    _make_certificates(folder)
    port, management, dns = free_port(), free_port(), free_port()
    (folder / "pebble.json").write_text(
        json.dumps(
            {
                "pebble": {
                    "listenAddress": f"0.0.0.0:{port}",
                    "managementListenAddress": f"127.0.0.1:{management}",
                    "certificate": str(folder / "pebble.pem"),
                    "privateKey": str(folder / "pebble.key"),
                    "httpPort": 1,
                    "tlsPort": tls_port,
                    "ocspResponderURL": "",
                    "externalAccountBindingRequired": False,
                }
            }
        )
    )
    names = [
        "pebble-challtestsrv",
        "-dns01",
        f"127.0.0.1:{dns}",
        "-http01",
        "",
        "-https01",
        "",
        "-tlsalpn01",
        "",
        "-defaultIPv4",
        "127.0.0.1",
        "-defaultIPv6",
        "",
        "-management",
        f"127.0.0.1:{free_port()}",
    ]
    authority = ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]
    env = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
    with running(names, log=folder / "dns.log"), running(authority, env=env, log=folder / "pebble.log"):
        wait_until(lambda: accepts(port) and accepts(management), "pebble listening", 30)
        yield Pebble(folder, f"https://pebble:{port}/dir", management, tls_port)


def _make_certificates(folder: Path) -> None:
    """Our own authority, and a certificate for the names of pebble."""
    (folder / "names").write_text("subjectAltName=DNS:pebble,DNS:localhost,IP:127.0.0.1\n")
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout"]
    for command in (
        [*new, "ca.key", "-x509", "-days", "2", "-subj", "/CN=of the tests", "-out", "ca.pem"],
        [*new, "pebble.key", "-subj", "/CN=pebble", "-out", "pebble.csr"],
        [
            "openssl",
            "x509",
            "-req",
            "-in",
            "pebble.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "names",
            "-out",
            "pebble.pem",
        ],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    for file in folder.iterdir():
        file.chmod(0o644)
    folder.chmod(0o755)
