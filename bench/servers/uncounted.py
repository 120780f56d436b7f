"""The gate as it would be without /metrics. What the real one takes beyond it is the price of counting."""

from __future__ import annotations

from authsvc import asgi
from authsvc.gate import app
from authsvc.gate.decision import Decision
from authsvc.gate.measure import Measured


class Uncounted(Measured):
    """Takes note of nothing, and so has nothing to count."""

    def note(self, decision: Decision, seconds: float) -> None: ...


vars(app).update(Measured=Uncounted, measure_pipes=lambda: None)
application = asgi.application
