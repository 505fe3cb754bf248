"""Every setting of the operator, from ``LONGSHORE_OPERATOR_…`` in its environment; arguments of the command win."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from longshore_operator import pool_namespaces
from longshore_operator.errors import ConfigError

PREFIX = "LONGSHORE_OPERATOR_"

Names = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value),
]  # fmt: skip


Pools = Annotated[
    dict[str, frozenset[str]],
    BeforeValidator(lambda value: pool_namespaces.parse(value) if isinstance(value, str) else value),
]


class OperatorSettings(BaseModel):
    """Read once, at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kubeconfig: str = ""
    """File that says where the API server is; without one the pod's own account, then ~/.kube/config."""
    namespaces: Names = ()
    """Namespaces whose jobs are run; all without any."""
    exclude_namespaces: Names = ()
    """Namespaces that another operator has: of them nothing is read and nothing is touched. Those that another operator
    has marked as its own (`owner`) are left alone without being named here."""
    owner: str = ""
    """Name under which markers, Leases with the label `longshore.dev/owner`, give namespaces to this operator."""
    workers: Names = ()
    """Addresses (``host:port``) of workers that are no pods, with commas: to try the operator by hand."""
    pool_namespaces: Pools = {}
    """Namespaces whose pods are workers, with commas, each with the other namespaces that it may serve
    (``ls=*, team-a=jobs-a|jobs-b``). Defaults to the operator's own namespace, which serves itself alone."""
    worker_token_file: Path | None = None
    """File with the bearer token of the workers of the operator's own namespace: one value, or during a rotation two,
    a line each. Read again for every request. Without it that token is derived too."""
    root_secret_file: Path | None = None
    """File with the root secret from which the token of each pool namespace is derived; at least 32 characters."""
    token_generation: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Generation of the derived tokens. Raise it by one to rotate them; the one before is tried too."""
    leader_election: bool = True
    """Whether a Lease decides who leads; false for a single operator by hand."""
    lease_namespace: str = ""
    """Namespace of the Lease; the operator's own without one."""
    lease_name: str = "longshore-operator"
    """Name of the Lease."""
    lease_seconds: Annotated[float, Field(ge=2, le=3600)] = 15.0
    """A leader that has not renewed for so long is replaced."""
    identity: str = Field(default_factory=socket.gethostname)
    """Name of this operator in the Lease; the pod's."""
    address: str = ""
    """Address at which others reach this operator, the pod's IP; `host` without one."""
    host: str = "127.0.0.1"
    """Address of the operator's own HTTP port."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8082
    """Port for probes, metrics and the api's questions; 0 takes any that is free."""
    token_file: Path | None = None
    """File with the tokens that may ask explain, workers and queues; nobody may without one."""
    tls_dir: Path | None = None
    """Folder with `tls.crt`, `tls.key` and `ca.crt` as in cert-manager's Secrets: with it the operator's port speaks TLS, and so
    must the workers. Read again when they change."""
    unknown_handler_seconds: Annotated[float, Field(ge=0)] = 60.0
    """A job whose handler is known to no worker fails when workers of its queue have been there for so long."""
    secrets_dir: Path | None = None
    """Folder of webhook secrets: one folder for each namespace, in it a file for each `webhook.secretRef`."""
    webhook_allow_local: bool = False
    """Whether webhooks may go to loopback and link-local addresses and to this machine's own."""
    scaling: bool = True
    """Whether pools are scaled that have `longshore.dev/max-workers`; without it no right on Deployments is needed."""
    retention_seconds: Annotated[float, Field(ge=0)] = 7 * 86_400.0
    """Ended jobs that do not say how long they are kept are kept so long."""
    log_level: str = "info"
    """Least serious log lines that are written: debug, info, warning, error."""

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        both = sorted({*self.namespaces} & {*self.exclude_namespaces})
        if both:
            raise ValueError(f"namespaces and exclude_namespaces both name {', '.join(both)}")
        return self

    @property
    def lists(self) -> list[str]:
        """Namespaces to list: each, or all at once."""
        return list(self.namespaces) or [""]


def load(arguments: Mapping[str, object], environment: Mapping[str, str] | None = None) -> OperatorSettings:
    """Arguments that are not None, then the environment, then defaults; raises ConfigError naming the setting."""
    environment = os.environ if environment is None else environment
    given: dict[str, object] = {}
    for variable, text in environment.items():
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).lower()
            if name not in OperatorSettings.model_fields:
                raise ConfigError(f"there is no setting {variable}")
            given[name] = text
    given |= {name: value for name, value in arguments.items() if value is not None}
    try:
        return OperatorSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # of several settings together
            raise ConfigError(first["msg"].removeprefix("Value error, ")) from None
        name = str(first["loc"][0])
        raise ConfigError(f"{PREFIX}{name.upper()}: {first['msg']}, not {first.get('input')!r}") from None
