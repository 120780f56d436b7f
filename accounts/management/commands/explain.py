"""manage.py explain: what the gate would answer to a request, check by check, without using up any limit."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from authsvc.gate.explain import ANYWHERE, Explanation, Scenario, explain, in_words
from runtime.commands import OperatorCommand

MARKS = {"passed": "  ok", "refused": "  NO", "not_asked": "   -"}
LONGEST = 1024


class Command(OperatorCommand):
    help = (
        "Show what the gate would answer to a request, check by check, and what is left of the limits. Uses nothing up."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", metavar="ID", help="the 16 characters after the prefix; - reads a key from stdin")
        parser.add_argument("--model", default="", metavar="M", help="the model; the path defaults to its own")
        parser.add_argument(
            "--path", default="", metavar="PATH", help="with --model: the path of a router for that model"
        )
        parser.add_argument("--method", default="POST", metavar="METHOD", help="default: POST")
        parser.add_argument(
            "--address", default=ANYWHERE, metavar="IP", help=f"the client's address; default: {ANYWHERE}"
        )
        parser.add_argument("--json", action="store_true", help="print what the REST API returns")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["model"] and not options["path"]:
            raise CommandError("Specify --model or --path.")
        asked = {name: options[name] for name in ("model", "path", "method", "address")}
        if options["key"] == "-":
            explained = explain(Scenario(text=sys.stdin.readline(LONGEST).strip(), **asked))
        elif re.fullmatch("[0-9A-Za-z]{16}", options["key"]):
            explained = explain(Scenario(key_id=options["key"], **asked))
        else:
            raise CommandError(
                "Pass the 16 characters after the prefix, or - and the key on stdin, where no process list shows it."
            )
        if options["json"]:
            self.stdout.write(json.dumps(in_words(explained), indent=2))
        else:
            self._print(explained)
        if explained.verdict.status != 200:
            sys.exit(1)

    def _print(self, explained: Explanation) -> None:
        known = explained.known
        if known is not None:
            self.stdout.write(
                f"key {known.key.public_id} of account {known.account.public_id}, plan {known.account.plan}"
            )
        for check in explained.checks:
            self.stdout.write(f"{MARKS[check.outcome]}  {check.name}{f': {check.why}' if check.why else ''}")
        for state in explained.limits:
            limit = state.limit
            whole = f", full again in {state.whole_in} s" if state.whole_in else ""
            self.stdout.write(
                f"      {limit.name}: {state.left} of {limit.room} {limit.unit} left (per {limit.scope}){whole}"
            )
        status = in_words(explained)["status"]
        why = f" ({explained.why})" if explained.why else ""
        wait = f", it would pass in {explained.wait} s" if explained.wait else ""
        self.stdout.write(f"{explained.verdict.word}: {status}{why}{wait}")
