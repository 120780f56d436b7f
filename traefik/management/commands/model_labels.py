"""manage.py model_labels NAME: print what to paste so that Traefik serves a model behind the gate."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseError

from quotas.models import SEGMENT, SLUG, ServedModel
from runtime.commands import OperatorCommand
from traefik.auth_address import INTERNAL, origin_of
from traefik.route import ModelRoute
from traefik.written import as_compose, as_file, as_swarm

_PATH = rf"(/{SEGMENT}){{1,8}}"
_BELOW = rf"(/{SEGMENT}){{1,8}}/?"
_VARIABLE = r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::?[-?+][A-Za-z0-9._-]*)?\}"
_HOST = rf"(?:[A-Za-z0-9.-]|{_VARIABLE})+"
_MIDDLEWARE = r"[A-Za-z0-9_-]+(@[a-z0-9]+)?"
_SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Command(OperatorCommand):
    help = "Print the labels (or the file) that put a model behind the gate. Changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the model's name in the catalogue, keys and headers")
        parser.add_argument("--for", choices=["compose", "swarm", "file"], default="compose", dest="form")
        parser.add_argument(
            "--port", type=int, default=8000, help="where the model's container listens (default: 8000)"
        )
        parser.add_argument("--path", help="the path prefix; default: the catalogue's, else /NAME")
        parser.add_argument(
            "--host", help="default: api.${DOMAIN:-localhost} in labels, api.localhost in a file; '' for any host"
        )
        parser.add_argument("--entrypoint", default="web", help="the entry point for clients (default: web)")
        parser.add_argument(
            "--gate-url",
            default=INTERNAL,
            help=f"where Traefik asks the gate (default: {INTERNAL}, its own entry point)",
        )
        parser.add_argument(
            "--before", metavar="NAMES", help="shared middlewares before the gate; default: cors@file in labels"
        )
        parser.add_argument(
            "--after",
            metavar="NAMES",
            help="shared middlewares after it; in labels api-errors@file, and too-large@file with --upload-limit",
        )
        parser.add_argument(
            "--strip-prefix", action="store_true", help="remove the path prefix before the model sees it"
        )
        parser.add_argument("--upload-limit", metavar="SIZE", help="the largest request body, such as 10m")
        parser.add_argument(
            "--websocket-keys",
            action="store_true",
            help="let a browser's websocket send its key as a subprotocol; gates need AUTHSVC_WEBSOCKET_KEYS=1",
        )
        parser.add_argument("--streaming", action="store_true", help="the model streams: pass on each piece at once")
        parser.add_argument(
            "--public",
            action="append",
            default=[],
            metavar="PATH",
            help="a path below the model's that needs no key, such as /health; a final / includes everything below",
        )
        parser.add_argument(
            "--keep-route", action="store_true", help="with --for compose: while stopped, answer 502 instead of 404"
        )
        parser.add_argument("--service", help="the service's name in the file; default: NAME")
        parser.add_argument("--network", default="", help="the network in which Traefik finds the container")
        parser.add_argument("--server-url", help="with --for file: where the model listens, http://SERVICE:PORT")

    def handle(self, *args: Any, **options: Any) -> None:
        name = _matching(
            options["name"], SLUG, "a model's name: use up to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit"
        )
        form, service, port = options["form"], options["service"] or name, options["port"]
        _matching(service, r"[A-Za-z0-9][A-Za-z0-9._-]*", "a service's name")
        if not 1 <= port <= 65535:
            raise CommandError(f"--port {port}: write a port between 1 and 65535.")
        route = _route(name, options)
        if form == "file":
            server_url = options["server_url"] or f"http://{service}:{port}"
            if origin_of(server_url) is None:
                raise CommandError(f"--server-url {server_url}: write an address such as http://{service}:{port}.")
            self.stdout.write(as_file(route, server_url=server_url), ending="")
            return
        network = _network(options["network"])
        if form == "swarm":
            self.stdout.write(as_swarm(route, service=service, port=port, network=network), ending="")
            return
        text = as_compose(route, service=service, port=port, network=network, keeps_route=options["keep_route"])
        self.stdout.write(text, ending="")


def _route(name: str, options: dict[str, Any]) -> ModelRoute:
    in_labels = options["form"] != "file"
    host = (
        options["host"] if options["host"] is not None else "api.${DOMAIN:-localhost}" if in_labels else "api.localhost"
    )
    if options["streaming"] and options["upload_limit"]:
        raise CommandError(
            "--upload-limit also buffers answers, which would delay a stream until its end: use only one of the two."
        )
    if origin_of(options["gate_url"]) is None:
        raise CommandError(f"--gate-url {options['gate_url']}: write an address such as {INTERNAL}.")
    shared = "api-errors@file,too-large@file" if options["upload_limit"] else "api-errors@file"
    return ModelRoute(
        name=name,
        path=_matching(options["path"] or _path_of(name), _PATH, "a path such as /NAME or /v1/NAME"),
        host=host and _matching(host, _HOST if in_labels else r"[A-Za-z0-9.-]+", "a host name"),
        entry_point=_matching(options["entrypoint"], r"[A-Za-z0-9_-]+", "the name of an entry point"),
        gate_url=options["gate_url"],
        before=_names(options["before"], "cors@file" if in_labels else ""),
        after=_names(options["after"], shared if in_labels else ""),
        strip_prefix=options["strip_prefix"],
        upload_limit=_bytes(options["upload_limit"]),
        streaming=options["streaming"],
        websocket_keys=options["websocket_keys"],
        public=tuple(
            _matching(path, _BELOW, "a path below the model's, such as /health") for path in options["public"]
        ),
    )


def _path_of(name: str) -> str:
    """The catalogue's path if the database is available and knows the model."""
    try:
        row = ServedModel.objects.filter(slug=name).first()
    except DatabaseError:
        row = None
    return row.path if row is not None else f"/{name}"


def _names(text: str | None, default: str) -> tuple[str, ...]:
    words = [word.strip() for word in (default if text is None else text).split(",")]
    return tuple(_matching(word, _MIDDLEWARE, "the name of a middleware, such as cors@file") for word in words if word)


def _bytes(text: str | None) -> int | None:
    if text is None:
        return None
    size = re.fullmatch(r"([1-9][0-9]{0,14})([kmg]?)b?", text.lower())
    if size is None:
        raise CommandError(f"--upload-limit {text}: write a size such as 500k or 10m.")
    return int(size[1]) * _SIZES[size[2]]


def _network(text: str) -> str:
    return text and _matching(text, rf"(?:[A-Za-z0-9._-]|{_VARIABLE})+", "the name of a network")


def _matching(text: str, pattern: str, what: str) -> str:
    if not re.fullmatch(pattern, text):
        raise CommandError(f"{text!r} is not {what}.")
    return text
