"""A model's route as text to paste: labels of a Compose or Swarm service, or a file for the file provider."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from traefik.route import ModelRoute, dynamic

# https://docs.docker.com/reference/compose-file/interpolation/: keep ${NAME}, double any other $.
_DOLLAR = re.compile(r"\$(?!\{[A-Za-z_][A-Za-z0-9_]*(?::?[-?+][^{}]*)?\})")


def as_compose(route: ModelRoute, *, service: str, port: int, network: str = "", keeps_route: bool = False) -> str:
    found = labels(route, {"server": {"port": port}}, network=network, provider="docker")
    if keeps_route:
        # The container's address disappears with it; its name remains.
        found = labels(route, {"server": {"url": f"http://{service}:{port}"}}, network=network, provider="docker")
        found = {"traefik.enable": "true", "traefik.docker.allownonrunning": "true", **found}
    return "\n".join(
        [
            "# Paste into the compose file and give the service its image and a network that it shares with Traefik",
            "# alone. Traefik needs the docker provider.",
            "services:",
            f"  {_word(service)}:",
            "    labels:",
            *_label_lines(found, indent=6),
            "",
        ]
    )


def as_swarm(route: ModelRoute, *, service: str, port: int, network: str = "") -> str:
    return "\n".join(
        [
            "# Paste into the stack file and give the service its image and a network that it shares with Traefik",
            "# alone. Traefik needs the swarm provider; it reads labels below `deploy` only and cannot guess a port.",
            "services:",
            f"  {_word(service)}:",
            "    deploy:",
            "      labels:",
            *_label_lines(labels(route, {"server": {"port": port}}, network=network, provider="swarm"), indent=8),
            "",
        ]
    )


def as_file(route: ModelRoute, *, server_url: str) -> str:
    """YAML for Traefik's file provider, which has no labels and needs to know where the model listens."""
    configuration = dynamic(route)
    balancer = configuration["services"][route.key]["loadBalancer"]
    configuration["services"][route.key]["loadBalancer"] = {"servers": [{"url": server_url}], **balancer}
    return "\n".join(
        ["# A file below the folder of Traefik's file provider.", "http:", *_yaml_lines(configuration, indent=2), ""]
    )


def labels(route: ModelRoute, server: dict[str, Any], *, network: str, provider: str) -> dict[str, str]:
    """The same configuration as labels for Traefik's docker and swarm providers."""
    configuration = dynamic(route)
    balancer = configuration["services"][route.key]["loadBalancer"]
    configuration["services"][route.key]["loadBalancer"] = {**server, **balancer}
    found = {"traefik.enable": "true"}
    if network:
        found[f"traefik.{provider}.network"] = network
    return found | dict(_flat("traefik.http", configuration))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, list):
        yield name, ",".join(value)
    else:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


def _label_lines(found: dict[str, str], *, indent: int) -> Iterator[str]:
    for name, value in found.items():
        yield f"{' ' * indent}{name}: {_quoted(_DOLLAR.sub('$$', value))}"


def _yaml_lines(value: dict[str, Any], *, indent: int) -> Iterator[str]:
    for key, inner in value.items():
        start = f"{' ' * indent}{_word(key)}:"
        if isinstance(inner, dict) and inner:
            yield start
            yield from _yaml_lines(inner, indent=indent + 2)
        else:
            yield f"{start} {_inline(inner)}"


def _inline(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_word(k)}: {_inline(v)}' for k, v in value.items())} }}" if value else "{}"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


_WORDS_OF_YAML = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
_quoted: Callable[[str], str] = json.dumps  # a JSON string is valid YAML


def _word(name: str) -> str:
    """A YAML key, quoted if YAML would read it as a number, a date or a word such as `no`."""
    is_plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) and name.lower() not in _WORDS_OF_YAML
    return name if is_plain else _quoted(name)
