"""gunicorn -c deploy/gunicorn.conf.py authsvc.asgi:application

Environment: BIND, ADMIN_BIND (health and metrics; unset: none), WEB_CONCURRENCY, AUTHSVC_DRAIN. A reload (HUP) reads
this file again, starts new workers with the current code and settings, and loses no request.
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
    # At least two, so that one may die or be busy. At most four by default, because a container sees all of its host's
    # cores, whatever its share of them.
    workers = env.count("WEB_CONCURRENCY", max(2, min(4, _cores)), least=1, most=256)

backlog = 2048
worker_class = "runtime.worker_class.GateWorker"
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # heartbeats must not wait for a disk

# A reload must renew code and settings, and none of the application's sockets or threads may cross a fork.
preload_app = False

# Traefik keeps idle connections for 90 s. The side that sends requests must be the one that closes first.
keepalive = 100

timeout = 30  # for a worker's heartbeat, not for a request
# When a replica ends: the drain, then lingering, then requests in progress. On a reload: the wait for new workers (10 s
# at most), then the same.
graceful_timeout = int(GateWorker.drain_seconds) + 15

# No header from a client or proxy may change path, address or scheme. If gunicorn trusted the peer, a client's
# `SCRIPT_NAME: /auth` would turn the gate's path into `/` (docs/forward-auth). Our worker class uses none of these
# settings; they are here in case another one is tried.
forwarded_allow_ips = ""
forwarder_headers = ""
header_map = "drop"
secure_scheme_headers: dict[str, str] = {}
proxy_protocol = "off"
proxy_allow_ips = ""
# limit_request_* apply to gunicorn's own parsers; our limits are in runtime.worker_class.GateProtocol.

accesslog = None  # the gate writes its own log, without secrets
errorlog = "-"
control_socket_disable = True  # it needs a writable home directory, and ours is read-only

on_starting = preflight.refuse_wrong_settings


def when_ready(master: Any) -> None:
    replica.watch_for_the_end(master)
    preflight.check_before_reload(master)


on_reload = replica.next_generation
pre_fork = replica.give_seat


def child_exit(master: Any, worker: Any) -> None:
    replica.free_seat(master, worker)
    preflight.count_failed_start(master, worker)
