"""The docs page and the admin in a real Chromium: they render, without violating their policy."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from api.urls import OPERATIONS

pytestmark = pytest.mark.django_db(transaction=True)

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def shown(url: str, profile: str) -> tuple[str, str]:
    """The page after its scripts have run, and the browser's console output."""
    assert BROWSER
    done = subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=30000",
            "--enable-logging=stderr",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return done.stdout, "\n".join(re.findall(r"CONSOLE.*", done.stderr))


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on PATH")
@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/api/v1/docs/", [f"operations-{one.tag.replace(' ', '_')}-{one.id}" for one in OPERATIONS.values()]),
        ("/api/v1/docs/#/keys/issue_key", ["Try it out", "Idempotency-Key", "grace"]),
        ("/login/", ["Sign in"]),
        ("/admin/login/", ["id_username"]),
        ("/errors/no_key", ["no_key"]),
    ],
)
def test_a_page_is_shown_and_breaks_no_rule_of_its_policy(service, tmp_path, path, parts):
    page, said = shown(f"{service}{path}", str(tmp_path))
    assert "Content Security Policy" not in said, said
    assert not (missing := [part for part in parts if part not in page]), f"{missing} {said} {page[:2000]}"
