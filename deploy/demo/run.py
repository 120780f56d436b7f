"""`make demo`: start everything, show how to try it, and stop everything on Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from .children import end_with_parent
from .demo import Demo
from .obstacle import Obstacle
from .place import CHECKOUT, lock, take_place
from .ports import require_free
from .sample_keys import Keys, kept_keys, new_keys
from .sample_models import SPACY_MODELS
from .sample_people import people

EXAMPLES = """
authsvc is running.

  models   {gateway}
  console  {console}
  keys     {keys}
  logs     {logs}
  manage   {manage}

Three calls to try:

  # A key of the plan "free" asks the English model.
  curl -i {gateway}/en_core_web_sm/ner -H 'Authorization: Bearer {free}' \\
    -H 'Content-Type: application/json' -d '{{"text": "Ada Lovelace met Charles Babbage in London."}}'

  # The same key may not ask the French model: the 403 names the missing permission.
  curl -i {gateway}/fr_core_news_md/ner -H 'Authorization: Bearer {free}' \\
    -H 'Content-Type: application/json' -d '{{"text": "Marie Curie travaillait à Paris."}}'

  # A key of the plan "pro" may, and receives each sentence as it is ready.
  curl -N {gateway}/fr_core_news_md/sentences/stream -H 'Authorization: Bearer {pro}' \\
    -H 'Content-Type: application/json' -d '{{"text": "Marie Curie travaillait à Paris. Elle y est restée."}}'

Customers sign in at {console}/login/. These two have a week of invented usage (name, role, password):

{people}

New customers sign up at {console}/accounts/signup/, which is open in this demo only.
No mail is sent: operators read all of it at {console}/mailbox/.

{operator}
Ctrl-C stops everything.
"""

FIRST_OPERATOR = """\
There is no operator yet. Open this link within an hour to become the first one:

  {link}

Operators sign in at {console}/admin/. If the hour has passed, `{manage} set_up` prints a new link.
"""
SIGN_IN = "Operators sign in at {console}/admin/. For a lost password: `{manage} changepassword NAME`.\n"

Action = Callable[[int, FrameType | None], None] | signal.Handlers


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


def main() -> int:
    end_with_parent()
    _on_signals(_stopped)
    began = time.monotonic()
    try:
        demo(_folder(), _port(), lambda line: print(f"[{time.monotonic() - began:4.1f} s] {line}", flush=True))
    except Stopped:
        return 0
    except Obstacle as obstacle:
        print(f"\nmake demo: {obstacle}", file=sys.stderr, flush=True)
        return 1
    return 0


def demo(folder: Path, port: int, report: Callable[[str], None]) -> None:
    """Run until stopped, or until one of its processes dies."""
    locked = lock(folder)
    for public in (port, port + 1):
        require_free(public)
    place = take_place(folder, port, models=len(SPACY_MODELS))
    stack = Demo(place, SPACY_MODELS, CHECKOUT / "deploy" / "catalogue.toml", report)
    try:
        stack.start()
        keys = _keys(stack, report)
        report("inviting people")
        somebody = people(stack.place, stack.service)
        manage = stack.service.write_manage()
        report("ready")
        print(_examples(stack, keys, somebody, manage), flush=True)
        place.ready.touch()  # last, so that everything is printed and written by then
        while True:
            stack.require_alive()
            time.sleep(0.5)
    finally:
        _on_signals(signal.SIG_IGN)
        report("stopping")
        stack.stop()
        os.close(locked)


def _keys(stack: Demo, report: Callable[[str], None]) -> Keys:
    kept = kept_keys(stack.place)
    if kept:
        return kept
    report("issuing keys")
    return new_keys(stack.place, stack.service)


def _examples(stack: Demo, keys: Keys, somebody: str, manage: Path) -> str:
    place, link = stack.place, stack.first_operator_link
    operator = FIRST_OPERATOR if link else SIGN_IN
    return EXAMPLES.format(
        operator=operator.format(link=link, console=place.console_url, manage=shlex.quote(str(manage))),
        people="\n".join(f"  {line}" for line in somebody.splitlines()),
        gateway=place.gateway_url,
        console=place.console_url,
        keys=place.keys,
        logs=place.logs,
        free=keys["FREE_KEY"],
        pro=keys["PRO_KEY"],
        manage=manage,
    )


def _folder() -> Path:
    return CHECKOUT / (os.environ.get("DEMO_DIR") or ".demo")


def _port() -> int:
    raw = os.environ.get("DEMO_PORT") or "8080"
    if not (raw.isascii() and raw.isdigit()) or not 1 <= int(raw) <= 65534:
        raise Obstacle(f"DEMO_PORT={raw} is not a port: choose a number from 1 to 65534.")
    return int(raw)


def _on_signals(action: Action) -> None:
    """A shell that starts us in the background ignores SIGINT, which we undo; nohup ignores SIGHUP on purpose."""
    signal.signal(signal.SIGINT, action)
    signal.signal(signal.SIGTERM, action)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, action)


def _stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
