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
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import orjson
from gunicorn.errors import AppImportError

from longshore.api.connections.limits import STOP_LINGER_SECONDS, Limits
from longshore.api.connections.log_lines import RequestLogger
from longshore.api.connections.read_ahead import ReadAheadWorker
from longshore.tls import CERTIFICATE, KEY

if TYPE_CHECKING:
    from types import FrameType

    from flask import Flask
    from gunicorn.arbiter import Arbiter

    from longshore.apps import Apps
    from longshore.settings import Settings
    from longshore.store.service import EngineService

_boot = orjson.loads(os.environ["LONGSHORE_API_BOOT"])
_settings = SimpleNamespace(**_boot["settings"])  # plain values, checked by the engine long ago

# At the end, kept connections wait for a last request. 2 s are for callers that do not know of the end yet; those of a
# worker do: its feed says that it drains.
WORKER_LINGER_SECONDS = 0.3
PROBES = (b"GET /livez ", b"HEAD /livez ", b"GET /readyz ", b"HEAD /readyz ")
# What the operator asks of a worker; two of the threads may wait at its feed (``app.POLLS``).
OPERATOR = (b"GET /v1/attempts ", b"GET /v1/attempts?", b"POST /v1/attempts ", b"DELETE /v1/attempts/")
_of_worker = _boot.get("role") == "worker"
_tls_dir = Path(_settings.tls_dir) if _settings.tls_dir else None


class ApiWorker(ReadAheadWorker):
    """With the limits that the settings say."""

    limits = Limits(
        request_seconds=_settings.request_seconds,
        max_connections=_settings.max_connections,
        max_connections_per_address=_settings.max_connections_per_address,
        trusted_proxies=tuple(_settings.trusted_proxies),
        max_body_bytes=_settings.max_body_bytes,
        express=PROBES + OPERATOR if _of_worker else PROBES,
        express_threads=5 if _of_worker else 2,
        stop_linger_seconds=WORKER_LINGER_SECONDS if _of_worker else STOP_LINGER_SECONDS,
    )
    tls_dir = _tls_dir


wsgi_app = "longshore.api.serving:application()"
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = [f"fd://{_boot['fd']}" if "fd" in _boot else f"{_host}:{_settings.port}"]
worker_class = ApiWorker
if _tls_dir is not None:
    # Only so that the application sees https; ``ApiWorker`` reads them itself, and again when they change.
    certfile, keyfile = str(_tls_dir / CERTIFICATE), str(_tls_dir / KEY)
workers = 1  # one registry of metrics, one budget of waits; jobs run elsewhere
threads = _settings.api_threads
worker_connections = _settings.max_connections + threads
backlog = 1024
sendfile = False  # it would wait for the caller in the thread; files here are small
# Nothing is heard of a worker while its start hooks run. A debugger stops every thread, the one that says that the process
# lives among them; and in development a process waits for code.
timeout = 0 if _settings.debugpy or _settings.dev else max(60, int(_settings.hook_seconds) + 30)
graceful_timeout = 10
keepalive = 75  # longer than the 60 s at which proxies give up, so that they close first
worker_tmp_dir = "/dev/shm"  # the heartbeat must not wait for a disk
control_socket_disable = True  # its thread would make every replaced worker a fork of a threaded process
preload_app = False
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
forwarded_allow_ips = ""  # the application itself believes its trusted_proxies, and nobody else
proc_name = "longshore-api"
accesslog = "-"  # which requests are logged ``ApiLogger`` decides, since that changes with the level
errorlog = "-"
loglevel = "warning"


class ApiLogger(RequestLogger):
    """As the settings say."""

    json = _settings.log_format == "json" or (_settings.log_format == "auto" and not sys.stderr.isatty())
    requests = _settings.access_log


logger_class = ApiLogger


def on_starting(server: object) -> None:
    """In the arbiter, once: gunicorn runs this file as its configuration, and the workers import it a second time."""
    RequestLogger.debugging = _boot.get("debug", _settings.log_level == "debug")


def when_ready(server: "Arbiter") -> None:
    """In the arbiter: two signals switch the log. gunicorn's own meaning of SIGUSR2 is to start a second arbiter."""
    server.handle_usr1 = lambda: _switch_log(server, signal.SIGUSR1)
    server.handle_usr2 = lambda: _switch_log(server, signal.SIGUSR2)


def _switch_log(server: "Arbiter", number: int) -> None:
    RequestLogger.debugging = number == signal.SIGUSR1 or _settings.log_level == "debug"  # of workers to come too
    if "fd" not in _boot:  # no engine says so
        server.log.switched(_log_level(), _settings.log_level)
    server.kill_workers(number)


def _log_level() -> str:
    return "debug" if RequestLogger.debugging else str(_settings.log_level)


def post_fork(server: object, worker: object) -> None:
    """In the worker, at once: it must not outlive the arbiter, whose socket it shares."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def post_worker_init(worker: object) -> None:
    """In the worker, before the first request."""
    if _settings.debugpy:
        from longshore import debugging

        debugging.attach()
    _report("+")
    faulthandler.enable()
    if _settings.api_cpu is not None:
        os.sched_setaffinity(0, {_settings.api_cpu})


def _switch_log_of_worker(number: int, _frame: "FrameType | None") -> None:
    from longshore.api import lines

    RequestLogger.debugging = number == signal.SIGUSR1 or _settings.log_level == "debug"
    lines.set_level(_log_level())


def worker_exit(server: object, worker: object) -> None:
    """In the worker, after its last request."""
    from longshore import hooks

    if "on_api_start" in hooks.STARTED:
        hooks.stop("on_api_stop", hooks.API_STOPS, hooks.STOP_SECONDS)


def _report(text: str) -> None:
    """Tell the engine, where there is one."""
    if "report" in _boot:
        os.write(_boot["report"], text.encode())


def worker_abort(worker: object) -> None:
    """The worker hung: say where, before it is killed."""
    faulthandler.dump_traceback(sys.stderr)


def application() -> "Flask":
    """The application over the engine's socket and database, or over a cluster."""
    from longshore import apps, hooks
    from longshore.api import lines
    from longshore.app_metrics.changes import CHANGES
    from longshore.errors import AppError
    from longshore.settings import Settings

    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _switch_log_of_worker)
        signal.siginterrupt(number, False)
    settings = Settings.load_dump(_boot["settings"])
    lines.set_up(settings)
    lines.set_level(_log_level())
    # Two saves within a second leave bytecode that looks fresh and is of the first.
    sys.dont_write_bytecode = sys.dont_write_bytecode or settings.dev
    if "gate" in _boot:  # in development mode this process is ready long before there is something to import
        os.read(_boot["gate"], 1)
    try:
        loaded = apps.load(settings.apps)
        if _boot.get("role") != "api":
            CHANGES.take()  # what counted while it was imported: the template has told the engine of the same
        app = _application(settings, loaded)
        if "trial" in _boot:
            return app  # it is built and thrown away: nothing of an application may begin
        app.config["TEMPLATES_AUTO_RELOAD"] = settings.dev or None
        hooks.start("on_api_start", hooks.API_STARTS, settings.hook_seconds)
        return app
    except AppError as error:
        if "report" not in _boot:
            raise AppImportError(error.message) from None  # gunicorn prints the message alone, and ends
        _report(f"-{error.message}")
        # The engine says why, once. gunicorn would print this traceback and one of its own before it ended.
        os.killpg(os.getpgrp(), signal.SIGKILL)
        raise


def _application(settings: "Settings", loaded: "Apps") -> "Flask":
    from longshore.api.app import create_app, create_worker

    if _boot.get("role") == "worker":
        from longshore.store.worker import WorkerAttempts

        attempts = WorkerAttempts(_boot["rpc"])
        return _reporting(create_worker(attempts, settings, loaded), attempts)
    if _boot.get("role") == "api":
        return _of_cluster(settings, loaded)
    from longshore.store.local import LocalStore

    store = LocalStore(_boot["rpc"], _boot["db"])
    return _reporting(create_app(store, settings, loaded), store)


def _reporting(app: "Flask", engine: "EngineService") -> "Flask":
    """The application, whose readiness checks the engine is told of from now on."""
    from longshore.api.checks import Reporter

    if "trial" not in _boot:
        Reporter(app.extensions["longshore"].checks, engine).start()
    return app


def _of_cluster(settings: "Settings", loaded: "Apps") -> "Flask":
    from longshore.api.app import create_app
    from longshore.api.auth import ClusterGuard
    from longshore.store.kubernetes.connect import connect

    def stop_waiting(number: int, frame: "FrameType | None") -> None:
        store.stop_waiting()
        if callable(gunicorns):
            gunicorns(number, frame)

    store, reviews = connect(settings, loaded.handlers)
    guard = ClusterGuard(settings, reviews, store.namespace) if settings.auth == "kubernetes" else None
    # gunicorn lets requests finish in 10 s, and waits may take 30.
    gunicorns = signal.signal(signal.SIGTERM, stop_waiting)
    return create_app(store, settings, loaded, guard)
