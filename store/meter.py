"""What a pipe reports. This meter ignores all of it; a room above installs one that counts."""

from __future__ import annotations


class PipeMeter:
    """`Pipe.meter`: called once per batch and per failure, never per command."""

    def answered(self, commands: int, seconds: float) -> None:
        """A batch of commands was answered."""

    def failed(self, how: str) -> None:
        """`how` is one of FAILURES."""

    def broke(self) -> None:
        """The breaker opened: from now on decisions do not wait for this Redis."""

    def mended(self) -> None:
        """It closed again."""


FAILURES = (
    "connect",  # an attempt to connect failed
    "lost",  # a connection in use ended
    "slow_batch",  # a batch was not answered in time, and its connection was closed
    "late",  # a command was given up before it was answered
    "overrun",  # too many commands were waiting
    "refused",  # Redis answered with an error: it is full, say
)
