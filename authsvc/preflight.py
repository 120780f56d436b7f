"""Before gunicorn starts anything: a wrong setting is told once, not by every worker with a traceback of its own."""

from __future__ import annotations

import os
import sys
from typing import Any

from authsvc.env import BadSetting

WRONG = 1


def refuse_wrong_settings(master: Any) -> None:
    """Hook `on_starting`. A child looks: settings that the master had loaded would outlive a reload (HUP)."""
    child = os.fork()
    if child == 0:
        status = WRONG
        try:
            status = report_faults()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(WRONG)


def report_faults() -> int:
    """Say on stderr what is wrong with the settings; the exit status."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "authsvc.settings")
    try:
        from authsvc.checks import stop_if_wrong

        stop_if_wrong()
    except BadSetting as error:
        sys.stderr.write(f"{error}\n")
        return WRONG
    return 0
