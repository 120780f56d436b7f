"""An owner and a viewer to sign in as, in people.txt, with passwords made for this demo."""

from __future__ import annotations

from .place import DemoPlace, write_private
from .service import DemoService


def people(place: DemoPlace, service: DemoService) -> str:
    """A line for each: name, role, password. They are made at the first start."""
    try:
        return place.people.read_text(encoding="utf-8")
    except FileNotFoundError:
        made = service.manage("demo_people", "--this-is-a-demo")
        write_private(place.people, f"{made}\n")
        return made
