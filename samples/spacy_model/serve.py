"""python -m spacy_model.serve: a uvicorn that keeps serving for DRAIN seconds after SIGTERM.

In a rolling update the new container is asked in as the old one is asked to leave, and a balancer hears of both a
moment later. Who stops at once refuses what the balancer still sends.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import uvicorn

from .app import from_environment


class DrainingServer(uvicorn.Server):
    """The first SIGTERM begins the drain; a second one, or any other signal, ends it."""

    drain_seconds = 0.0
    _drains = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or self._drains or not self.drain_seconds:
            super().handle_exit(sig, frame)
            return
        self._drains = True
        end = threading.Timer(self.drain_seconds, super().handle_exit, (sig, None))
        end.daemon = True
        end.start()


def main() -> None:
    # Traefik keeps idle connections for 90 s; wait longer, so that we never close one during a request.
    config = uvicorn.Config(
        from_environment,
        factory=True,
        host="0.0.0.0",  # noqa: S104
        port=int(os.environ.get("PORT", "8000")),
        timeout_keep_alive=100,
        server_header=False,
        access_log=False,
    )
    server = DrainingServer(config)
    server.drain_seconds = _drain_seconds()
    server.run()


def _drain_seconds() -> float:
    raw = os.environ.get("DRAIN", "0")
    try:
        return max(0.0, float(raw))
    except ValueError:
        raise SystemExit(f"DRAIN={raw!r} is not a number of seconds.") from None


if __name__ == "__main__":
    main()
