"""How gunicorn runs the application: one process, threads, a socket that the engine opened.

gunicorn reads this file as its configuration (``--config …/serving.py``). What the application has to know comes from
the engine in one variable of the environment. The arbiter, which never serves, imports nothing of the application: that
is ten megabytes less.
"""

import ctypes
import faulthandler
import os
import signal
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson
from gunicorn.glogging import Logger
from gunicorn.workers import gthread

if TYPE_CHECKING:
    from types import FrameType

    from flask import Flask

    from longshore.apps import Apps
    from longshore.settings import Settings

_boot = orjson.loads(os.environ["LONGSHORE_API_BOOT"])
_settings = SimpleNamespace(**_boot["settings"])  # plain values, checked by the engine long ago

WORKER_LINGER_SECONDS = 0.3  # for a request on a kept connection, at the end
wsgi_app = "longshore.api.serving:application()"
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = [f"fd://{_boot['fd']}" if "fd" in _boot else f"{_host}:{_settings.port}"]
worker_class = "gthread"
workers = 1  # one registry of metrics, one budget of waits; jobs run elsewhere
threads = _settings.api_threads
worker_connections = 1000
backlog = 256
timeout = 60
graceful_timeout = 10
keepalive = 75  # longer than the 60 s at which proxies give up, so that they close first
worker_tmp_dir = "/dev/shm"  # the heartbeat must not wait for a disk
control_socket_disable = True  # its thread would make every replaced worker a fork of a threaded process
preload_app = False
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
forwarded_allow_ips = "127.0.0.1"
proc_name = "longshore-api"
accesslog = None if _settings.access_log == "off" else "-"
access_log_format = '{"action":"request","method":"%(m)s","path":"%(U)s","status":%(s)s,"seconds":%(L)s}'
errorlog = "-"
loglevel = "warning"


class OnlyErrors(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Logs requests that went wrong; the others cost nothing, where a filter would see each in full."""

    def access(self, resp: Any, req: object, environ: object, request_time: object) -> None:
        """Called by gunicorn after every request."""
        if resp.status_code >= 400:
            super().access(resp, req, environ, request_time)


logger_class = OnlyErrors if _settings.access_log == "errors" else Logger


def post_fork(server: object, worker: object) -> None:
    """In the worker, at once: it must not outlive the arbiter, whose socket it shares."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if _boot.get("role") == "worker":
        # 2 s are for callers that do not know of the end yet. Those of a worker do: its feed says that it drains.
        gthread.STOP_KEEPALIVE_LINGER = WORKER_LINGER_SECONDS


def post_worker_init(worker: object) -> None:
    """In the worker, before the first request."""
    _report("+")
    faulthandler.enable()
    if _settings.api_cpu is not None:
        os.sched_setaffinity(0, {_settings.api_cpu})


def _report(text: str) -> None:
    """Tell the engine, where there is one."""
    if "report" in _boot:
        os.write(_boot["report"], text.encode())


def worker_abort(worker: object) -> None:
    """The worker hung: say where, before it is killed."""
    faulthandler.dump_traceback(sys.stderr)


def application() -> "Flask":
    """The application over the engine's socket and database, or over a cluster."""
    from longshore import apps
    from longshore.api.app import create_app, create_worker
    from longshore.errors import AppError
    from longshore.settings import Settings

    settings = Settings.load_dump(_boot["settings"])
    try:
        loaded = apps.load(settings.apps)
        if _boot.get("role") == "worker":
            from longshore.store.worker import WorkerAttempts

            return create_worker(WorkerAttempts(_boot["rpc"]), settings, loaded)
        if _boot.get("role") == "api":
            return _of_cluster(settings, loaded)
        from longshore.store.local import LocalStore

        return create_app(LocalStore(_boot["rpc"], _boot["db"]), settings, loaded)
    except AppError as error:
        _report(f"-{error.message}")
        raise


def _of_cluster(settings: "Settings", loaded: "Apps") -> "Flask":
    from longshore.api import lines
    from longshore.api.app import create_app
    from longshore.api.auth import ClusterGuard
    from longshore.store.kubernetes.connect import connect

    lines.set_up(settings)

    def stop_waiting(number: int, frame: "FrameType | None") -> None:
        store.stop_waiting()
        if callable(gunicorns):
            gunicorns(number, frame)

    store, reviews = connect(settings, loaded.handlers)
    guard = ClusterGuard(settings, reviews, store.namespace) if settings.auth == "kubernetes" else None
    # gunicorn lets requests finish in 10 s, and waits may take 30.
    gunicorns = signal.signal(signal.SIGTERM, stop_waiting)
    return create_app(store, settings, loaded, guard)
