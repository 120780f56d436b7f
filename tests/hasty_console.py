"""The product's application with less patience for bodies: what tests/service/test_bodies.py runs under gunicorn."""

from __future__ import annotations

from authsvc.asgi import application  # first: it sets Django up

from authsvc import bodies  # isort: skip

bodies.FIRST_SECONDS, bodies.LINGER_SECONDS = 4.0, 1.0

__all__ = ["application"]
