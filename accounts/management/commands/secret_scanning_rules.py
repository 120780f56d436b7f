"""manage.py secret_scanning_rules: rules by which secret scanners find this deployment's keys."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from accounts.scanning import for_github, for_gitleaks
from runtime.commands import OperatorCommand

FORMATS = {"gitleaks": for_gitleaks, "github": for_github}


class Command(OperatorCommand):
    help = "Print rules for secret scanners that find API keys, management keys and operator tokens by their prefix."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--for", dest="scanner", choices=FORMATS, default="gitleaks", help="whose format; default: gitleaks"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(FORMATS[options["scanner"]](settings.KEY_PREFIX), ending="")
