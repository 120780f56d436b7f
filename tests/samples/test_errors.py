"""The errors that Traefik answers in a model's place, from a real nginx."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import requests

from tests.servers import ROOT, accepts, free_port, running, wait_until

IDENTITY = "4bf92f3577b34da6a3ce929d0e0e4736"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    if NGINX is None:
        pytest.skip("nginx is not on PATH")
    directory, port = tmp_path_factory.mktemp("errors"), free_port()
    configuration = (ROOT / "samples/errors/nginx.conf").read_text()
    for theirs, ours in (("listen 8080", f"listen 127.0.0.1:{port}"), (" /tmp/", f" {directory}/")):
        configuration = configuration.replace(theirs, ours)
    (directory / "nginx.conf").write_text(configuration)
    with running([NGINX, "-c", f"{directory}/nginx.conf", "-g", "daemon off;"], log=directory / "log"):
        wait_until(lambda: accepts(port), "nginx listening")
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("status", [413, 502, 504])
def test_a_model_s_error_names_the_request_that_the_gate_let_through(errors, status):
    answer = requests.get(f"{errors}/api/{status}", headers={"X-Auth-Request-Id": IDENTITY}, timeout=20)
    problem = json.loads(answer.content)
    assert (problem["status"], problem["request_id"]) == (status, IDENTITY)


@pytest.mark.parametrize("header", [None, '","x":"', IDENTITY.upper(), IDENTITY[1:]])
def test_anything_but_an_id_of_the_gate_is_left_out(errors, header):
    answer = requests.get(f"{errors}/api/502", headers={"X-Auth-Request-Id": header}, timeout=20)
    assert set(json.loads(answer.content)) == {"type", "title", "status", "detail"}
