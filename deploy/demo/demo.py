"""The running demo, started in order: store, models, tables, gate, console, worker, Traefik."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from . import ports
from .children import Children
from .place import CHECKOUT, DemoPlace
from .sample_models import ModelServer
from .service import DemoService
from .store import start_store
from .traefik import start_traefik

Report = Callable[[str], None]


class Demo:
    """A running demo; `stop` is safe at any moment."""

    def __init__(self, place: DemoPlace, models: Sequence[ModelServer], catalogue: Path, report: Report) -> None:
        self.place, self.models, self.catalogue, self._report = place, models, catalogue, report
        self.service = DemoService(place)
        self.children = Children(place.logs, CHECKOUT)
        self.first_operator_link = ""  # empty once there is an operator

    def start(self) -> None:
        """Start everything. The models, which are slow, load while the tables are created."""
        self._report("starting the store")
        start_store(self.place, self.children)
        self._start_models()
        self._report("creating the tables and applying the catalogue")
        told = self.service.manage("set_up", "--catalogue", str(self.catalogue))
        if link := re.search(r"^First operator +(\S+)", told, re.M):
            self.first_operator_link = link[1]
        self._report("starting the gate, the console, the worker and Traefik")
        self._start_service()
        self._wait()

    def _start_models(self) -> None:
        self._report(f"starting the models {', '.join(model.name for model in self.models)}")
        for model, port in zip(self.models, self.place.models, strict=True):
            model.start(self.children, port)

    def _start_service(self) -> None:
        self.service.start_gate(self.children, processes=2)
        self.service.start_console(self.children)
        self.service.start_worker(self.children)
        start_traefik(self.place, self.children, self.models)

    def _wait(self) -> None:
        for model, port in zip(self.models, self.place.models, strict=True):
            self.children.wait_until(partial(ports.listens, port), f"The model {model.name}")
        self.children.wait_until(partial(ports.listens, self.place.console), "The console")
        for model in self.models:
            self.children.wait_until(partial(self._asks_for_a_key, model), "The gate behind Traefik")

    def _asks_for_a_key(self, model: ModelServer) -> bool:
        return ports.status_of(self.place.gateway, f"/{model.name}/") == 401

    def require_alive(self) -> None:
        self.children.require_alive()

    def stop(self) -> None:
        self.place.ready.unlink(missing_ok=True)
        self.children.stop()
