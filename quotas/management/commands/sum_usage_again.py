"""manage.py sum_usage_again: discard the sums of days, for the worker to make them again."""

from __future__ import annotations

from typing import Any

from quotas.usage.sums import begin_anew
from runtime.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Discard the sums that long reports are read from. The worker makes them again from days."

    def handle(self, *args: Any, **options: Any) -> None:
        begin_anew()
        self.stdout.write("The worker sums usage again; until then long reports are correct, but slower.")
