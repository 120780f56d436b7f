"""A model that echoes what reached it: `python -m tests.stack.echo NAME PORT`.

any method and path   200, JSON: who served it, the request line and every header as it came
a websocket           a frame of JSON with the headers as they came, then each frame back; it speaks the first subprotocol that
                      is offered, and below …/mute/ none
…/events              two server-sent events; the second is made only after someone asked for …/release
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event

from tests.stack import websocket


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are sent in two pieces, and the second would be delayed by 40 ms
    name = ""
    released = Event()

    def __getattr__(self, attribute):
        """Answer every method, known or not."""
        if attribute.startswith("do_"):
            return self.answer
        raise AttributeError(attribute)

    def answer(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.talk()
            return
        body = self.read_body()
        if self.path.endswith("/events"):
            self.events()
            return
        if self.path.endswith("/release"):
            self.released.set()
        seen = {"model": self.name, "method": self.command, "target": self.path, "body": body.decode("latin-1")}
        self.reply(json.dumps(seen | {"headers": self.headers.items()}).encode())

    def read_body(self):
        """Read all of it; the rest would be parsed as the next request."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, body):
        self.send_response(200)
        self.send_header("X-Served-By", self.name)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def events(self):
        self.released.clear()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.wfile.flush()
        made = self.released.wait(20)
        self.wfile.write(b"data: second\n\n" if made else b"data: nobody asked\n\n")

    def talk(self):
        offered = [one.strip() for one in self.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", websocket.accept_of(self.headers["Sec-WebSocket-Key"]))
        if offered[0] and "/mute" not in self.path:
            self.send_header("Sec-WebSocket-Protocol", offered[0])
        self.end_headers()
        websocket.send(self.wfile, json.dumps(self.headers.items()).encode())
        while (text := websocket.receive(self.rfile)) is not None:
            websocket.send(self.wfile, text)
        self.close_connection = True

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Echo.name = sys.argv[1]
    Server(("127.0.0.1", int(sys.argv[2])), Echo).serve_forever()
