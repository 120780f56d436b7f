"""`Question`: what a decision is asked."""

from __future__ import annotations

from typing import NamedTuple

from accounts.keys import PresentedKey
from authsvc.gate.forwarded import ForwardedRequest


class Question(NamedTuple):
    """May this key make this request at `now` (seconds since 1970)? The answer is due at `deadline` (monotonic)."""

    request: ForwardedRequest
    key: PresentedKey
    now: float
    deadline: float
