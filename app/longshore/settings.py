"""Every setting of the service: one frozen object, read once from arguments > environment > file > defaults.

A field ``foo_bar`` is ``--foo-bar`` on the command line of ``serve``, ``LONGSHORE_FOO_BAR`` in the environment and
``foo_bar`` in the TOML file. Unknown names are refused wherever they come from. As long as there are settings.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from longshore import settings_file
from longshore.errors import SettingsError
from longshore.job.limits import QueuePolicy
from longshore.job.wording import sentence
from longshore.settings_values import (
    Address,
    Bytes,
    Data,
    File,
    Networks,
    Port,
    Prefix,
    Queues,
    Schedules,
    Seconds,
    Words,
    is_loopback,
)

PREFIX = "LONGSHORE_"
# Variables of ours that are no settings of the service: the client's, and what the engine hands to its children.
OTHER_VARIABLES = frozenset({"LONGSHORE_URL", "LONGSHORE_TOKEN", "LONGSHORE_API_BOOT", "LONGSHORE_CONFIG"})
APPLICATION_PREFIX = "LONGSHORE_APP_"  # settings of applications: application_settings.py


class Settings(BaseModel):
    """The service's settings. Times are seconds, sizes bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address that the HTTP api listens on; only this machine unless changed."""
    port: Port = 8080
    """Port of the HTTP api; 0 takes any that is free."""
    probe_host: str = ""
    """Address of the liveness and readiness listener; empty means `host`."""
    probe_port: Port = 8081
    """Port of the liveness and readiness listener; 0 takes any that is free."""
    slots: Annotated[int, Field(ge=0, le=1024)] = 0
    """Jobs that run at a time; 0 means one per processor."""
    data_dir: Data = Path("data")
    """Folder of the database, on a local disk; it should be Longshore's alone, others cannot look into it."""
    apps: Words = ()
    """Importable modules that bring handlers, routes and health checks."""
    dev: bool = False
    """Of `longshore serve`: put code and settings in force as soon as they are saved; needs longshore[dev]."""
    debugpy: Address = ""
    """Of `longshore serve`: HOST:PORT where a debugger of handlers and views attaches; whoever reaches it runs any code."""
    strict: bool = False
    """Whether applications that start threads when they are imported are refused; their threads are not in the slots."""
    hook_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 30.0
    """Time that start hooks of applications have, all of a process together; one that takes longer stops the start."""
    synchronous: Literal["full", "normal"] = "full"
    """full: an accepted job survives a power cut; normal: it survives a crash of the service only, and costs no fsync."""
    max_pending: Annotated[int, Field(ge=1)] = 1_000_000
    """Jobs that may wait in all; more are refused with 503."""
    max_pending_bytes: Bytes = 1024**3
    """Specifications of waiting jobs, in bytes of JSON; more are refused with 503."""
    retention_seconds: Seconds = 7 * 86_400.0
    """Ended jobs are kept so long, unless they say otherwise."""
    retention_jobs: Annotated[int, Field(ge=0)] = 100_000
    """Ended jobs that are kept at most; those that would expire first go first."""
    retention_bytes: Bytes = 4 * 1024**3
    """Results and output of jobs that are kept at most, in bytes; ended jobs that would expire first go first."""
    tokens_file: File = None
    """File of token hashes (`longshore token new` writes it); without one everybody who reaches the port is admin."""
    auth: Literal["tokens", "kubernetes"] = "tokens"
    """Who knows callers and their rights: tokens_file, or the API server (the default of `longshore api`)."""
    token_audiences: Words = ()
    """With auth=kubernetes: tokens have to be meant for one of these; empty: for the API server."""
    kubeconfig: File = None
    """Of `longshore api`: file that names the cluster; without one the pod's own service account does."""
    namespace: str = ""
    """Of `longshore api`: namespace of jobs when a request names none; empty: the pod's own, else `default`."""
    all_namespaces: bool = False
    """Of `longshore api`: serve other namespaces too; its account needs rights in the whole cluster."""
    operator_namespace: str = ""
    """Of `longshore api`: namespace of the operator's Lease; empty: its own."""
    operator_lease: str = "longshore-operator"
    """Of `longshore api`: name of the operator's Lease, which tells who leads."""
    operator_token_file: File = None
    """Of `longshore api`: file with the token that the operator's leader answers to; without one it is not asked."""
    worker_tokens_file: File = None
    """File with the one or two tokens (a line each) that the operator may come to a worker with; `longshore worker` needs it."""
    api_url: str = ""
    """Where jobs go; a worker says so to whoever sends it one."""
    insecure: bool = False
    """Listen on an address that others can reach although there is no tokens_file."""
    allowed_hosts: Words = ()
    """Names that a Host header may carry beside the loopback ones; a host that is no loopback address allows all."""
    trusted_proxies: Networks = ()
    """Addresses or networks of proxies whose X-Forwarded-For, -Proto, -Host, -Port and -Prefix are believed; empty: none."""
    tls_dir: File = None
    """Folder with `tls.crt` and `tls.key` as in cert-manager's Secrets: the api speaks TLS with them; new files count at once."""
    root_path: Prefix = ""
    """Path that a proxy serves the api under, such as /longshore; links begin with it unless X-Forwarded-Prefix says another."""
    commands: bool = False
    """Whether jobs may run commands; off, because whoever may submit could then run anything."""
    drain_seconds: Seconds = 30.0
    """Running jobs may finish for so long after SIGTERM; then they are stopped and run again after the next start."""
    grace_seconds: Seconds = 5.0
    """A job that is stopped has so long between SIGTERM and SIGKILL."""
    token_seconds: Seconds = 0.2
    """A job that is stopped has so long between the token (`ctx.cancelled`) and SIGTERM."""
    slot_max_jobs: Annotated[int, Field(ge=0)] = 1000
    """A slot is replaced after so many jobs; 0: never."""
    slot_max_age_seconds: Seconds = 3600.0
    """A slot is replaced at the first end of a job after so long; 0: never."""
    slot_max_growth_bytes: Bytes = 256 * 1024**2
    """A slot is replaced when a job left it so much larger than it was before its first."""
    log_head_bytes: Bytes = 256 * 1024
    """First bytes of an attempt's output that are kept."""
    log_ring_bytes: Bytes = 1024**2
    """Last bytes of an attempt's output that are kept; what lies between is counted."""
    log_echo_bytes: Bytes = 1024**2
    """Bytes of an attempt's output that also go to the service's own log."""
    metric_series: Annotated[int, Field(ge=1, le=20_000)] = 1000
    """Sets of label values that a metric of an application may have; further ones are dropped and counted."""
    tracebacks: Literal["output", "log"] = "output"
    """Where the traceback of a failed attempt goes: to the end of the attempt's own output, or to the service's log alone."""
    max_result_bytes: Bytes = 1024**2
    """Largest result, as JSON; a larger one fails the job with `ResultTooLarge`."""
    results_dir: File = None
    """Of a cluster: folder, shared by workers and the api, of results above 16 KiB, results of array items, and output."""
    max_body_bytes: Bytes = 16 * 1024**2
    """Largest body of a batch; every other body may have 1 MiB."""
    request_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 10.0
    """The line and headers of a request have to come within this time; a body may take longer at 1 KiB/s or more."""
    max_connections: Annotated[int, Field(ge=8, le=100_000)] = 1000
    """Connections that the HTTP api keeps open; one more closes an unfinished or idle one of the address with the most."""
    max_connections_per_address: Annotated[int, Field(ge=1, le=100_000)] = 250
    """The same for one address (IPv6: a /64); loopback and trusted proxies are exempt, because they speak for many."""
    webhook_allow_local: bool = False
    """Whether webhooks may go to loopback and link-local addresses and to this machine's own."""
    secrets_dir: File = None
    """Folder of webhook secrets, a file each, named as in `webhook.secretRef`."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """Log lines as JSON or for people; auto: for people on a terminal."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least serious log lines that are written."""
    access_log: Literal["errors", "all", "off"] = "errors"
    """Which requests are logged."""
    api_threads: Annotated[int, Field(ge=2, le=256)] = 16
    """Requests that are answered at a time."""
    wait_threads: Annotated[int, Field(ge=0, le=255)] = 12
    """Of these, so many may wait for a job or stream; further waits are answered at once."""
    api_cpu: Annotated[int, Field(ge=0)] | None = None
    """Processor that the api process is pinned to; measured faster on few cores, see bench/."""
    docs: bool = True
    """Whether /docs shows the API in a browser."""
    queues: Queues = Field(default_factory=dict)
    """Queues and their policies, as tables [queues.NAME]; `default` is always there."""

    schedules: Schedules = Field(default_factory=dict)
    """Of `longshore serve`: jobs by the clock, as tables [schedules.NAME] with the fields of a Schedule."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.wait_threads >= self.api_threads:
            raise ValueError("wait_threads: must be smaller than api_threads, or waiting requests block all others")
        guarded = self.tokens_file is not None or self.worker_tokens_file is not None or self.auth == "kubernetes"
        if not self.loopback and not guarded and not self.insecure:
            raise ValueError(
                f"host: {self.host} can be reached by others, and there are no tokens; make some with "
                "`longshore token new` and set tokens_file, or set insecure=true to let everybody in"
            )
        return self

    @model_validator(mode="after")
    def _debugger_is_private(self) -> Self:
        if self.debugpy and not self.insecure and not is_loopback(self.debugpy.rpartition(":")[0].strip("[]")):
            raise ValueError(
                f"debugpy: {self.debugpy} can be reached by others, and a debugger may run any code; "
                "use 127.0.0.1, or set insecure=true to let everybody in"
            )
        return self

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the api."""
        return is_loopback(self.host)

    @property
    def slot_count(self) -> int:
        """Slots, with 0 resolved to the processors that this process may use."""
        return self.slots or len(os.sched_getaffinity(0))

    @property
    def database(self) -> Path:
        """The database file."""
        return self.data_dir / "longshore.db"

    def queue_policies(self) -> dict[str, QueuePolicy]:
        """Configured queues, `default` among them."""
        return {"default": QueuePolicy(), **self.queues}

    def dump(self) -> dict[str, object]:
        """JSON-shaped, for a child process; ``load_dump`` reads it."""
        return self.model_dump(mode="json")

    @classmethod
    def load_dump(cls, dump: Mapping[str, object]) -> "Settings":
        """What ``dump`` wrote."""
        return cls.model_validate(dump)


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings and where each value came from."""

    settings: Settings
    sources: Mapping[str, str]


def load(
    arguments: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
    defaults: Mapping[str, object] | None = None,
) -> Effective:
    """Read the settings, over the command's own ``defaults``; raises SettingsError that names the setting and its source."""
    environment = os.environ if environment is None else environment
    given: dict[str, object] = dict(defaults or {})
    sources = dict.fromkeys(Settings.model_fields, "default")
    for source, values in (
        _from_file(file or settings_file.named_by(environment)),
        ("environment", _from_environment(environment)),
        ("argument", {name: value for name, value in (arguments or {}).items() if value is not None}),
    ):
        given |= values
        sources |= {name: PREFIX + name.upper() if source == "environment" else source for name in values}
    try:
        return Effective(Settings.model_validate(given), sources)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(dict(e), sources) for e in error.errors())) from error


def _from_file(path: Path | None) -> tuple[str, dict[str, object]]:
    if path is None:
        return "file", {}
    _, values = settings_file.read(path)
    applications = values.pop("app", {})
    if not isinstance(applications, dict) or not all(isinstance(t, dict) for t in applications.values()):
        raise SettingsError(
            f"app in {path}: settings of applications are tables such as [app.shop]; did you mean apps?"
        )
    for key in values:
        _must_be_known(key, key, str(path))
    return f"file {path}", values


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith(APPLICATION_PREFIX) or variable in OTHER_VARIABLES:
            continue
        name = variable.removeprefix(PREFIX).lower()
        _must_be_known(name, variable, "the environment")
        found[name] = text
    return found


def _must_be_known(name: str, shown: str, source: str) -> None:
    if name in Settings.model_fields:
        return
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    prefix = PREFIX if shown.startswith(PREFIX) else ""
    known = f"{prefix}{near[0].upper() if prefix else near[0]}" if near else ""
    hint = f"; did you mean {known}?" if known else "; `longshore config` lists all settings"
    raise SettingsError(f"unknown setting {shown} in {source}{hint}")


def _explain(error: dict[str, object], sources: Mapping[str, str]) -> str:
    location = [str(part) for part in error["loc"]]  # type: ignore[attr-defined]  # pydantic's own tuple
    message = sentence(str(error["type"]), str(error["msg"]))
    if not location:
        return message
    name = location[0]
    allowed = get_args(Settings.model_fields[name].annotation) if name in Settings.model_fields else ()
    choices = f" (one of: {', '.join(allowed)})" if allowed and all(isinstance(a, str) for a in allowed) else ""
    value = "" if name in ("queues", "schedules") else f", not {error.get('input')!r}"
    return f"{'.'.join(location)} (from {sources.get(name, 'an argument')}): {message}{value}{choices}"
