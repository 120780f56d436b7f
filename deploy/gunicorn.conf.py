"""gunicorn -c deploy/gunicorn.conf.py authsvc.asgi:application

Environment: BIND, ADMIN_BIND (health and metrics; unset: none), WEB_CONCURRENCY, AUTHSVC_DRAIN. A reload (HUP) reads
this page again, starts new workers with the application's code and settings of that moment, and loses no request.
"""

from __future__ import annotations

import os
from typing import Any

from authsvc import preflight
from runtime import env, faults, listening, replica
from runtime.worker_class import GateWorker

_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

with faults.or_exit():
    _public, _admin = listening.addresses("BIND", "127.0.0.1:8000"), listening.addresses("ADMIN_BIND", "")
    listening.require_apart(_public, _admin)
    bind = [address.text for address in (*_public, *_admin)]
    GateWorker.admin_names = frozenset(address.name for address in _admin)
    GateWorker.drain_seconds = env.number("AUTHSVC_DRAIN", 5, most=300)
    # Two at least, so that one may die or be busy; four at most unless asked, because a container sees all cores of
    # its host, whatever its share of them is.
    workers = env.count("WEB_CONCURRENCY", max(2, min(4, _cores)), least=1, most=256)

backlog = 2048
worker_class = "runtime.worker_class.GateWorker"
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a heartbeat must not wait for a disk

# A reload must renew code and settings, and no socket or thread of the application may cross a fork.
preload_app = False

# Traefik keeps idle connections for 90 s. Who closes first must be the one that also sends requests.
keepalive = 100

timeout = 30  # for a worker's heartbeat, not for a request
# At the end of a replica: the drain, then the time to linger, then what is still being answered. On a reload: the wait
# for the new workers (10 s at most), then the same.
graceful_timeout = int(GateWorker.drain_seconds) + 15

# Nothing that a client or proxy writes may change path, address or scheme. A client's `SCRIPT_NAME: /auth` would turn
# the question's path into `/` if gunicorn trusted the peer (docs/forward-auth). Our worker class reads none of these;
# they are set for whoever tries another one.
forwarded_allow_ips = ""
forwarder_headers = ""
header_map = "drop"
secure_scheme_headers: dict[str, str] = {}
proxy_protocol = "off"
proxy_allow_ips = ""
# limit_request_* are for gunicorn's own parsers; ours are in runtime.worker_class.GateProtocol.

accesslog = None  # the gate writes its own line, without secrets
errorlog = "-"
control_socket_disable = True  # it would write to the home directory, which is read-only

on_starting = preflight.refuse_wrong_settings


def when_ready(master: Any) -> None:
    replica.watch_for_the_end(master)
    preflight.check_before_reload(master)


on_reload = replica.next_generation
pre_fork = replica.give_seat


def child_exit(master: Any, worker: Any) -> None:
    replica.free_seat(master, worker)
    preflight.count_failed_start(master, worker)
