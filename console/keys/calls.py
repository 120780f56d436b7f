"""Ready calls for a key: curl, Python and JavaScript that run as they stand."""

from __future__ import annotations

import json
from typing import NamedTuple

from django.conf import settings

from quotas.models import ServedModel

EXAMPLE = {"text": "Ada Lovelace met Charles Babbage in London."}
PLACEHOLDER = "YOUR_KEY"
_WITHOUT_BODY = {"GET", "HEAD", "OPTIONS", "DELETE"}


class ReadyCall(NamedTuple):
    """A call in one language. `language` is the tab's title."""

    language: str
    text: str


def ready_calls(model: ServedModel, key: str = PLACEHOLDER, methods: list[str] | None = None) -> list[ReadyCall]:
    """The same call to the model three times: a GET where the key may send one, else what it may."""
    method = "GET" if not methods or "GET" in methods else methods[0]
    url = f"{settings.GATEWAY_URL}{model.path}/"
    return [
        ReadyCall("curl", _curl(method, url, key)),
        ReadyCall("Python", _python(method, url, key)),
        ReadyCall("JavaScript", _javascript(method, url, key)),
    ]


def _curl(method: str, url: str, key: str) -> str:
    lines = [f"curl {url}", f"  -H 'Authorization: Bearer {key}'"]
    if method == "HEAD":
        lines[0] = f"curl --head {url}"
    elif method != "GET":
        lines[0] = f"curl -X {method} {url}"
    if method not in _WITHOUT_BODY:
        lines += ["  -H 'Content-Type: application/json'", f"  -d '{json.dumps(EXAMPLE)}'"]
    return " \\\n".join(lines)


def _python(method: str, url: str, key: str) -> str:
    lines = [f'    "{url}",', f'    headers={{"Authorization": "Bearer {key}"}},']
    if method not in _WITHOUT_BODY:
        lines.append(f"    json={json.dumps(EXAMPLE)},")
    return "\n".join(
        [
            "import requests",
            "",
            f"answer = requests.{method.lower()}(",
            *lines,
            "    timeout=30,",
            ")",
            "answer.raise_for_status()",
            "print(answer.text)",
        ]
    )


def _javascript(method: str, url: str, key: str) -> str:
    headers = [f'Authorization: "Bearer {key}"']
    lines = [] if method == "GET" else [f'  method: "{method}",']
    if method not in _WITHOUT_BODY:
        headers.append('"Content-Type": "application/json"')
        lines.append(f"  body: JSON.stringify({json.dumps(EXAMPLE)}),")
    return "\n".join(
        [
            f'const answer = await fetch("{url}", {{',
            f"  headers: {{ {', '.join(headers)} }},",
            *lines,
            "});",
            "console.log(answer.status, await answer.text());",
        ]
    )
