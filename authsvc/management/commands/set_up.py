"""manage.py set_up: from an empty database to a service that people can sign in to.

It may run any number of times, also concurrently. docs/decisions/0009 says what it does before each start.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connections
from redis.exceptions import RedisError

from accounts.peppers import peppers
from accounts.services.secrets import needed_peppers
from authsvc import __version__
from console.first_operator import new_link
from quotas import deployment
from runtime import migrating
from runtime.commands import OperatorCommand
from runtime.faults import of_redis
from runtime.waiting import Away, wait_until, why_no_database, why_no_redis
from store.clients import conditions
from store.condition import REMEDY, UNKNOWN_POLICY, wrong_policies, wrong_policy


class Command(OperatorCommand):
    help = (
        "Wait for the database and Redis, migrate, apply the catalogue, and print how to get started. "
        "With `-- PROGRAM ARGS` it then runs that program in its place."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--catalogue", type=Path, metavar="FILE.toml", help="default: AUTHSVC_CATALOGUE")
        parser.add_argument(
            "--only-schema", action="store_true", help="only wait for the database and migrate, without Redis"
        )
        parser.add_argument(
            "--start-anyway",
            action="store_true",
            help="for a gate, with PROGRAM: like --only-schema, but start it even if the database stays unavailable",
        )
        parser.add_argument(
            "--wait",
            type=float,
            default=60,
            metavar="S",
            help="per store, in seconds; default: 60",
        )
        parser.add_argument(
            "--lock-wait",
            type=float,
            default=600,
            metavar="S",
            help="while another start migrates; default: 600",
        )
        parser.add_argument("program", nargs="*", metavar="PROGRAM", help="after --: the program to run afterwards")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["start_anyway"] and not options["program"]:
            raise CommandError("--start-anyway needs a program to start: … --start-anyway -- gunicorn …")
        # As PID 1 of a container we need a handler: the kernel drops signals without one.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            self._set_up(options)
        except Away as away:
            if not options["start_anyway"]:
                raise CommandError(f"{away} Waited for {options['wait']:g} s.") from away
            self._say(f"{away} Starting without it: keys known to Redis are served, others get 503 until it is back.")
        if options["program"]:
            self._become(options["program"])

    def _set_up(self, options: dict[str, Any]) -> None:
        wait_until(why_no_database, seconds=options["wait"], say=self._say)
        if options["only_schema"] or options["start_anyway"]:
            if migrating.missing():  # otherwise there is no need to wait for the lock
                self._alone(options, with_catalogue=False)
            return
        wait_until(why_no_redis, seconds=options["wait"], say=self._say)
        found = conditions()
        for policy in wrong_policies(found):
            raise CommandError(f"{wrong_policy(policy)} {REMEDY}")
        if not all(one.policy for one in found):
            self._say(UNKNOWN_POLICY)
        self._alone(options, with_catalogue=True)
        self._warn_of_peppers()
        self._announce()

    def _alone(self, options: dict[str, Any], *, with_catalogue: bool) -> None:
        try:
            with migrating.alone(options["lock_wait"], self._say):
                self._migrate()
                if with_catalogue:
                    self._claim()
                    path = options["catalogue"] or settings.CATALOGUE
                    call_command("apply_catalogue", path, stdout=self.stdout, stderr=self.stderr)
        except migrating.StillLocked as error:
            raise CommandError(f"{error}: check what it is doing, or raise --lock-wait SECONDS.") from error

    def _claim(self) -> None:
        """Before this deployment's catalogue is applied to another deployment's keys."""
        try:
            deployment.claim()
        except deployment.AnotherDeployment as error:
            raise CommandError(str(error)) from error
        except RedisError as error:
            self._say(of_redis(error))  # it answered a moment ago; what is applied now stays pending

    def _migrate(self) -> None:
        if not migrating.missing():
            self._say("the database is up to date")
            return
        try:
            migrating.migrate()
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != "55P03":  # lock_not_available
                raise
            raise CommandError(
                f"A table was in use for more than {migrating.STATEMENT_LOCK_SECONDS} s, so the migration was rolled "
                "back: end the long transaction (see pg_stat_activity), then run this again."
            ) from error

    def _warn_of_peppers(self) -> None:
        """Find secrets regenerated beside an existing database here, before every client finds them."""
        known = {pepper.id for pepper in peppers()}
        lost = sum(secrets for pepper, secrets in needed_peppers().items() if pepper not in known)
        if lost:
            self._say(
                f"{lost} key secrets were made with a KEY_PEPPER that is no longer set, so their keys are refused: "
                "restore it, or set it as KEY_PEPPER_OLD"
            )

    def _announce(self) -> None:
        manage, link = settings.MANAGE, new_link()
        lines = [f"authsvc {__version__} is set up.", "", f"Console         {settings.CONSOLE_URL}/"]
        if link:
            lines += [
                f"First operator  {link}",
                "                (works once, within 1 hour; the first person to open it becomes the operator)",
                f"Another link    {manage} first_operator_link",
            ]
        lines.append(f"A key           {manage} issue_key --account me --name first")
        self.stdout.write("\n".join(["", *lines, ""]))
        self.stdout.flush()

    def _become(self, program: list[str]) -> None:
        connections.close_all()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execvp(program[0], program)  # noqa: S606  the operator's own command, without a shell
        except OSError as error:
            raise CommandError(f"{program[0]} cannot be started: {error.strerror}.") from error

    def _say(self, line: str) -> None:
        self.stderr.write(f"set_up: {line}", self.style.NOTICE if self.stderr.isatty() else str)
        self.stderr.flush()
