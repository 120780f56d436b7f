"""One table of verdicts: through the bare gate, the Django view, and gunicorn with ASGI and WSGI."""

from __future__ import annotations
