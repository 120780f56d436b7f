"""Every deadline that a busy machine could miss, in each module that has a name for it."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType

from accounts import ledger_worker
from authsvc.gate import explain, view

ENTRANCES = (ledger_worker, explain, view)  # importing them imports every module that has a deadline
GENEROUS_SECONDS = 20.0
ROOMS = ("accounts", "authsvc", "quotas", "store")
NAMES = (
    "BATCH_SECONDS",
    "CONNECT_SECONDS",
    "DATABASE_SECONDS",
    "DAYS_SECONDS",
    "DECISION_SECONDS",
    "IMPORT_SECONDS",
    "PATIENCE_SECONDS",
    "_SECONDS",  # of authsvc.gate.view
)


@cache
def deadlines() -> list[tuple[ModuleType, str]]:
    """A name imported from another module is a copy, so each module's own must be replaced."""
    ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in ROOMS]
    return [(module, name) for module in ours for name in NAMES if name in vars(module)]
