"""Checks before gunicorn starts or reloads: a bad setting is reported once, not as a traceback from each worker.

deploy/gunicorn.conf.py installs these functions as gunicorn's hooks. They run in the master, which must not load the
settings or the application, because what it has loaded would survive a reload (HUP). So a child process checks.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from time import monotonic
from typing import Any

from runtime import faults, replica
from runtime.env import BadSetting

WRONG = 1
MOST_FAILED_STARTS = 3  # in a row, while no worker serves
CHECK_SECONDS = 60.0
LONGEST_REASON = 2000

_failed_starts = 0


def refuse_wrong_settings(master: Any) -> None:
    """Hook `on_starting`: exit with one sentence if a setting is wrong."""
    if reason := _asked_in_a_child(_check_settings):
        sys.stderr.write(f"{reason}\n")
        sys.exit(WRONG)


def check_before_reload(master: Any) -> None:
    """Hook `when_ready`: from now on HUP reloads only if the new configuration loads.

    Otherwise gunicorn would read a broken configuration in the master and exit, taking its running workers with it.
    """
    reload = master.reload

    def reload_if_right() -> None:
        if reason := _asked_in_a_child(lambda: _check_all(master)):
            master.log.error("Not reloaded; the current workers keep running: %s", reason)
        else:
            reload()

    master.reload = reload_if_right


def count_failed_start(master: Any, worker: Any) -> None:
    """Hook `child_exit`: end the replica, with the reason, if workers cannot start and none is serving.

    gunicorn would restart workers forever, and the port would accept connections and never answer.
    """
    global _failed_starts
    is_old = not replica.is_of_this_generation(worker.seat)
    if replica.ever_served(worker.seat) or replica.workers_serving() or replica.is_draining() or is_old:
        _failed_starts = 0
        return
    _failed_starts += 1
    if _failed_starts >= (MOST_FAILED_STARTS if replica.anybody_served() else 1):
        from gunicorn.errors import HaltServer

        raise HaltServer("No worker could start; see the lines above.", WRONG)


# In the child.


def _check_settings() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "authsvc.settings")
    from authsvc.checks import stop_if_wrong

    stop_if_wrong()


def _check_all(master: Any) -> None:
    """Do everything a new worker will do before its first request."""
    before = master.cfg.address
    with _gunicorns_words():
        master.app.do_load_config()
    _try_to_listen([address for address in master.app.cfg.address if address not in before])
    _check_settings()
    master.app.wsgi()


@contextmanager
def _gunicorns_words() -> Iterator[None]:
    """gunicorn prints configuration errors to stderr and exits; raise BadSetting with its words instead."""
    said = StringIO()
    try:
        with redirect_stderr(said):
            yield
    except SystemExit as error:
        if isinstance(error.code, int):
            lines = [line for line in said.getvalue().splitlines() if line.strip()]
            raise BadSetting(lines[-1] if lines else "gunicorn cannot read its configuration.") from error
        raise


def _try_to_listen(addresses: list[Any]) -> None:
    for address in addresses:
        if not isinstance(address, tuple):
            continue
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(address)
            except OSError as error:
                raise BadSetting(f"BIND or ADMIN_BIND: cannot listen on {address}: {error.strerror}.") from error


def _asked_in_a_child(check: Callable[[], None]) -> str:
    """Run a check in a child; why it fails, or blank. Limited in time: a waiting master answers no signals."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run_and_exit(check, writing)
    os.close(writing)
    reason = _read_until_closed(reading)
    if reason is None:
        os.kill(child, signal.SIGKILL)
        reason = f"the check took longer than {CHECK_SECONDS:g} s"
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return reason or (f"the check ended with status {status}" if status else "")


def _run_and_exit(check: Callable[[], None], writing: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)  # the master's handlers are not for this process
    status = WRONG
    try:
        check()
        status = 0
    except BaseException as error:
        os.write(writing, faults.reason_of(error).encode("utf-8", "replace")[:LONGEST_REASON])
    finally:
        os._exit(status)


def _read_until_closed(reading: int) -> str | None:
    """The child's output; None if it does not end in time."""
    said, end = b"", monotonic() + CHECK_SECONDS
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, end - monotonic()))
        if not ready:
            return None
        part = os.read(reading, 65_536)
        if not part:
            return said.decode("utf-8", "replace")
        said += part
