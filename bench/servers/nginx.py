"""nginx, answering by itself: 204 in the gate's place, and 200 as a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import accepts, free_port, running, wait_until

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{ return {answer}; }}
  }}
}}
"""


@contextmanager
def answering(directory: Path, answer: str) -> Iterator[tuple[int, int]]:
    """Its port and process. `answer` is what nginx's `return` takes: a status, and a text if you like."""
    directory.mkdir()
    port = free_port()
    file = directory / "nginx.conf"
    file.write_text(CONFIGURATION.format(directory=directory, port=port, answer=answer), encoding="ascii")
    command = ["nginx", "-e", f"{directory}/error.log", "-c", str(file)]
    with running(command, log=directory / "nginx.log") as process:
        wait_until(lambda: process.poll() is not None or accepts(port), "nginx listening")
        if process.poll() is not None:
            raise SystemExit((directory / "error.log").read_text(encoding="utf-8"))
        yield port, process.pid
