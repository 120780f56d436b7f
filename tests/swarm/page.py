"""The commands of docs/deploying.md, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "deploying.md"

# Images are on this machine's engine and in no registry, so nothing is pushed and no digest is resolved.
WITHOUT_A_REGISTRY = """
set -euo pipefail
docker() {
  case "$1 ${2:-}" in
    push\\ *) ;;
    # "update out of sequence": the swarm was writing to that service just then. The page says: once more.
    "stack deploy") shift 2
      command docker stack deploy --resolve-image never "$@" || { sleep 3; command docker stack deploy --resolve-image never "$@"; } ;;
    *) command docker "$@" ;;
  esac
}
"""


def commands(heading: str) -> str:
    """All shell blocks between this heading and the next one of any level."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^##+ |\Z)", text, re.M | re.S)
    assert found, f"docs/deploying.md has no section {heading!r}"
    blocks = re.findall(r"^```sh\n(.*?)^```", found[1], re.M | re.S)
    assert blocks, f"the section {heading!r} has no commands"
    return "\n".join(blocks)


def run(script: str, *, cwd: Path = ROOT, env: dict[str, str], seconds: float = 900) -> str:
    """Run a script as a person would paste it; its stdout."""
    whole = f"{WITHOUT_A_REGISTRY}\n{script}"
    done = subprocess.run(
        ["bash", "-c", whole], cwd=cwd, env={**os.environ, **env}, capture_output=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, (
        f"{script}\nended with {done.returncode}:\n{done.stdout.decode()[-3000:]}\n{done.stderr.decode()[-3000:]}"
    )
    return done.stdout.decode()
