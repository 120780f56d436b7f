"""Ready calls for a key: curl, Python and JavaScript that run as they stand, and openai where the model speaks that."""

from __future__ import annotations

import json
import shlex
from typing import Any, NamedTuple

from django.conf import settings

from quotas.models import ServedModel

EXAMPLE = {"text": "Ada Lovelace met Charles Babbage in London."}
PLACEHOLDER = "YOUR_KEY"
_WITHOUT_BODY = {"GET", "HEAD", "OPTIONS", "DELETE"}

# What the openai package calls each path below its base, and where the answer is.
_OPENAI = {
    "/chat/completions": ("chat.completions.create", "choices[0].message.content"),
    "/completions": ("completions.create", "choices[0].text"),
    "/embeddings": ("embeddings.create", "data[0].embedding"),
    "/responses": ("responses.create", "output_text"),
}


class ReadyCall(NamedTuple):
    """A call in one language. `language` is the tab's title."""

    language: str
    text: str


class CallOfModel(NamedTuple):
    """What to send where. No body is None; text is sent as it is, anything else as JSON."""

    method: str
    url: str
    body: Any = None


def ready_calls(model: ServedModel, key: str = PLACEHOLDER, methods: list[str] | None = None) -> list[ReadyCall]:
    """The same call in each language: the model's example where the key may send it, else what it may."""
    call = call_of(model, methods)
    calls = [
        ReadyCall("curl", _curl(call, key)),
        ReadyCall("Python", _python(call, key)),
        ReadyCall("JavaScript", _javascript(call, key)),
    ]
    if with_openai := _openai(model, call, key):
        calls.append(ReadyCall("openai", with_openai))
    return calls


def call_of(model: ServedModel, methods: list[str] | None = None) -> CallOfModel:
    example = model.as_example
    base = f"{settings.GATEWAY_URL}{model.path}"
    if example is not None and (not methods or example.method in methods):
        return CallOfModel(example.method, base + example.path, example.body)
    method = "GET" if not methods or "GET" in methods else methods[0]
    return CallOfModel(method, f"{base}/", None if method in _WITHOUT_BODY else EXAMPLE)


def _content_type(body: Any) -> str:
    return "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _curl(call: CallOfModel, key: str) -> str:
    url = shlex.quote(call.url)
    lines = [f"curl {url}", f"  -H 'Authorization: Bearer {key}'"]
    if call.method == "HEAD":
        lines[0] = f"curl --head {url}"
    elif call.method != "GET":
        lines[0] = f"curl -X {call.method} {url}"
    if call.body is not None:
        text = call.body if isinstance(call.body, str) else _as_json(call.body)
        lines += [f"  -H 'Content-Type: {_content_type(call.body)}'", f"  --data-raw {shlex.quote(text)}"]
    return " \\\n".join(lines)


def _python(call: CallOfModel, key: str) -> str:
    headers = f'"Authorization": "Bearer {key}"'
    lines = [f'    "{call.url}",']
    if isinstance(call.body, str):
        headers += f', "Content-Type": "{_content_type(call.body)}"'
        lines.append(f"    data={call.body!r}.encode(),")
    elif call.body is not None:
        lines.append(f"    json={call.body!r},")
    lines.insert(1, f"    headers={{{headers}}},")
    return "\n".join(
        [
            "import requests",
            "",
            f"answer = requests.{call.method.lower()}(",
            *lines,
            "    timeout=30,",
            ")",
            "answer.raise_for_status()",
            "print(answer.text)",
        ]
    )


def _javascript(call: CallOfModel, key: str) -> str:
    headers = [f'Authorization: "Bearer {key}"']
    lines = [] if call.method == "GET" else [f'  method: "{call.method}",']
    if call.body is not None:
        headers.append(f'"Content-Type": "{_content_type(call.body)}"')
        text = _as_json(call.body)
        lines.append(f"  body: {text}," if isinstance(call.body, str) else f"  body: JSON.stringify({text}),")
    return "\n".join(
        [
            f'const answer = await fetch("{call.url}", {{',
            f"  headers: {{ {', '.join(headers)} }},",
            *lines,
            "});",
            "console.log(answer.status, await answer.text());",
        ]
    )


def _openai(model: ServedModel, call: CallOfModel, key: str) -> str:
    """The example as the openai package sends it; empty where that package has no call for its path."""
    path = call.url.partition("?")[0]
    end = next((end for end in _OPENAI if path.endswith(end)), None)
    if model.speaks != "openai" or end is None or not isinstance(call.body, dict):
        return ""
    function, place = _OPENAI[end]
    arguments = {"model": model.slug} | {name: value for name, value in call.body.items() if name != "stream"}
    return "\n".join(
        [
            "from openai import OpenAI",
            "",
            "client = OpenAI(",
            f'    base_url="{path.removesuffix(end)}",',
            f'    api_key="{key}",',
            ")",
            f"answer = client.{function}(",
            *(f"    {name}={value!r}," for name, value in arguments.items()),
            ")",
            f"print(answer.{place})",
        ]
    )
