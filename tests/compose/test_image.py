"""The tests inside the image, whose Python is newer than the oldest supported one and whose disk is read-only."""

from __future__ import annotations

from tests.compose.engine import BUILD_SECONDS, docker
from tests.servers import ROOT

CERTAIN = "not slow and not timed"  # as `make test` does
TESTS_SECONDS = 1200
# They need what the image lacks: the models' packages, Traefik, git, curl.
ELSEWHERE = ("tests/samples", "tests/stack", "tests/test_docs.py", "tests/service/test_api_page.py")


def test_the_certain_tests_pass_inside_the_image(stack):
    image = stack.image
    docker(
        "build",
        "-q",
        "-f",
        "tests/compose/Dockerfile",
        "--build-arg",
        f"IMAGE={image}",
        "-t",
        f"{image}-tests",
        ".",
        seconds=BUILD_SECONDS,
    )
    said = docker(
        "run",
        "--rm",
        "--init",
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--cap-drop",
        "ALL",
        "--network",
        "none",
        "--volume",
        f"{ROOT}:/checkout:ro",
        "--workdir",
        "/checkout",
        "--env",
        "HOME=/tmp",
        "--env",
        "HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis",
        f"{image}-tests",
        "python",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-n",
        "auto",
        "--dist",
        "loadfile",
        "-m",
        CERTAIN,
        *(f"--ignore={path}" for path in ELSEWHERE),
        seconds=TESTS_SECONDS,
    )
    assert " passed" in said
