"""The custom resource definitions, made from the models of ``longshore.job``.

``python -m longshore_operator.crds FOLDER`` writes them as YAML; ``make generate`` does it for ``manifests/crds``.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from longshore.job.patterns import LABEL_KEY, LONG_HOST, MAX_HOST, MAX_LABEL_KEY, portable
from longshore.job.queues import QUEUE_KIND, QueueSpec, QueueStatus
from longshore.job.schedule import SCHEDULE_KIND, ScheduleSpec, ScheduleStatus
from longshore.job.spec import API_VERSION, KIND, MUTABLE_FIELDS, JobSpec
from longshore.job.status import TERMINAL, JobStatus, Phase
from longshore_operator.structural import structural

GROUP, VERSION = API_VERSION.split("/")
HEADER: Final = "# Generated from the models of longshore.job by `make generate`; do not edit.\n"

# In place of a status that nobody has written yet. CEL rules read it as it stands, without the defaults of its fields.
STATUS_DEFAULT: Final = {"phase": str(Phase.PENDING), "attempts": 0, "redrives": 0}

Rule = dict[str, Any]
Column = dict[str, Any]


def job_crd() -> dict[str, Any]:
    """Jobs: what was asked for cannot change, and an end is an end."""
    spec, status = structural(JobSpec), _status(structural(JobStatus))
    _refuse_twins(spec)
    _say_urls(spec)
    _freeze(spec)
    status["default"] = dict(STATUS_DEFAULT)
    for name, value in STATUS_DEFAULT.items():
        status["properties"][name]["default"] = value
    _guard(status)
    columns = [
        _column("Phase", ".status.phase"),
        _column("Queue", ".spec.queue"),
        _column("Handler", ".spec.handler"),
        _column("Attempts", ".status.attempts", "integer"),
        _column("Worker", ".status.worker"),
        _column("Reason", ".status.reason", wide=True),
        _column("Started", ".status.startedAt", "date", wide=True),
        _column("Finished", ".status.finishedAt", "date", wide=True),
        _column("Webhook", ".status.conditions[?(@.type=='WebhookDelivered')].reason", wide=True),
        _age(),
    ]
    schema = _resource("A job: one unit of work, run in a warm worker.", spec, status, required=["spec"])
    selectable = [".spec.queue", ".spec.handler", ".status.phase"]
    return _crd(KIND, "lsj", schema, columns, selectable)


def queue_crd() -> dict[str, Any]:
    """Queues: all of the policy may change at any time."""
    spec = {**structural(QueueSpec), "default": {}}
    schema = _resource("A queue: how the jobs that name it are treated.", spec, _status(structural(QueueStatus)))
    # The name is what a job writes into `queue`, so it is bounded alike.
    schema["properties"]["metadata"]["properties"] = {
        "name": {name: structural(JobSpec)["properties"]["queue"][name] for name in ("type", "maxLength", "pattern")}
    }
    columns = [
        _column("Paused", ".spec.paused", "boolean"),
        _column("Concurrency", ".spec.concurrency", "integer"),
        _column("Depth", ".status.depth", "integer"),
        _column("Running", ".status.running", "integer"),
        _column("Oldest", ".status.oldestAgeSeconds", "number"),
        _column("Ready", ".status.conditions[?(@.type=='Ready')].status", wide=True),
        _age(),
    ]
    return _crd(QUEUE_KIND, "lsq", schema, columns)


def schedule_crd() -> dict[str, Any]:
    """Schedules: all of it may change; the change holds for jobs not yet created."""
    spec = structural(ScheduleSpec)
    job = spec["properties"]["jobTemplate"]["properties"]["spec"]
    _refuse_twins(job)
    _say_urls(job)
    job["x-kubernetes-validations"] = _job_shape()
    labels = spec["properties"]["jobTemplate"]["properties"]["labels"]
    rule = f"self.all(key, size(key) <= {MAX_LABEL_KEY} && key.matches(r'{portable(LABEL_KEY)}'))"
    labels["x-kubernetes-validations"] = [{"rule": rule, "message": "has a key that is no label key"}]
    schema = _resource("A schedule: jobs created by the clock.", spec, _status(structural(ScheduleStatus)), ["spec"])
    columns = [
        _column("Cron", ".spec.cron"),
        _column("Zone", ".spec.timeZone"),
        _column("Suspend", ".spec.suspend", "boolean"),
        _column("Last", ".status.lastScheduleTime", "date"),
        _column("Success", ".status.lastSuccessfulTime", "date", wide=True),
        _column("Ready", ".status.conditions[?(@.type=='Ready')].status", wide=True),
        _age(),
    ]
    return _crd(SCHEDULE_KIND, "lss", schema, columns)


def _crd(
    kind: str, short: str, schema: dict[str, Any], columns: list[Column], selectable: Sequence[str] = ()
) -> dict[str, Any]:
    singular = kind.lower()
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    if selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in selectable]
    names = {"kind": kind, "listKind": f"{kind}List", "plural": f"{singular}s", "singular": singular,
             "shortNames": [short], "categories": ["longshore"]}  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{GROUP}", "labels": {"app.kubernetes.io/part-of": "longshore"}},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": names,
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }  # fmt: skip


def _resource(
    description: str, spec: dict[str, Any], status: dict[str, Any], required: Iterable[str] = ()
) -> dict[str, Any]:
    properties = {
        "apiVersion": {"type": "string", "description": f"Always `{API_VERSION}`."},
        "kind": {"type": "string", "description": "Which kind of resource this is."},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": status,
    }
    schema: dict[str, Any] = {"type": "object", "description": description}
    return schema | ({"required": list(required)} if required else {}) | {"properties": properties}


def _status(schema: dict[str, Any]) -> dict[str, Any]:
    """Without defaults, which would be stored with every object; conditions merge by type."""
    _strip_defaults(schema)
    schema["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return schema


def _strip_defaults(schema: Any) -> None:
    if isinstance(schema, dict):
        schema.pop("default", None)
        for inner in schema.values():
            _strip_defaults(inner)


def _refuse_twins(spec: dict[str, Any]) -> None:
    """Say which lists name nothing twice: pydantic's schema is silent about validators."""
    fields = spec["properties"]
    retry, webhook = fields["retry"]["properties"], fields["webhook"]["properties"]
    for twinless in (fields["after"], retry["on"], retry["except"], webhook["on"]):
        twinless["x-kubernetes-list-type"] = "set"


def _say_urls(spec: dict[str, Any]) -> None:
    """The pattern as a rule, which has a message: nobody wants to read that pattern. What is stored is not looked at again."""
    url = spec["properties"]["webhook"]["properties"]["url"]
    rule = f"oldSelf.hasValue() || (self.matches(r'{url.pop('pattern')}') && !self.matches(r'{LONG_HOST}'))"
    message = (
        "must be an absolute http or https URL in ASCII (RFC 3986), without credentials and without a fragment, "
        f"whose host has at most {MAX_HOST} characters"
    )
    url["x-kubernetes-validations"] = [{"optionalOldSelf": True, "rule": rule, "message": message}]


def _job_shape() -> list[Rule]:
    """What ``JobSpec`` checks across fields."""
    rules = {
        "has(self.handler) != has(self.command)": "exactly one of handler and command must be given",
        "!has(self.args) || has(self.handler) || size(dyn(self.args)) == 0": "args belongs to a handler; a command takes its arguments in command",
        "!has(self.env) || size(self.env) == 0 || has(self.command)":
            "env belongs to a command; a handler takes its arguments in args",
        "!has(self.env) || self.env.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]{0,254}$'))":
            "env has a name that is no environment variable name",
        "!has(self.items) || !has(self.count)": "items and count exclude each other",
        "!has(self.items) || has(self.handler)": "items belongs to a handler; a command array uses count",
        "!has(self.parallelism) || has(self.items) || has(self.count)": "parallelism needs items or count",
    }  # fmt: skip
    return [{"rule": rule, "message": message} for rule, message in rules.items()]


def _freeze(spec: dict[str, Any]) -> None:
    """The rules of a job's specification; most of them say that a field cannot be changed.

    These run at every write, the status' included, and whenever a rule reads a field the API server builds the list of all fields of
    that object anew: in a rule of the field itself nothing is read. That one does not run when the field is added
    or taken away, so the whole is looked at for these, and no further when nothing has changed.
    """
    frozen = [name for name in spec["properties"] if name not in MUTABLE_FIELDS]
    for name in frozen:
        spec["properties"][name]["x-kubernetes-validations"] = [
            {"rule": "self == oldSelf", "message": f"{name} cannot be changed after creation"}
        ]
    _rises(spec, "redrive", "redrive can only be raised")
    same = " && ".join(f"has(self.{name}) == has(oldSelf.{name})" for name in frozen)
    first = " : ".join(f"has(self.{name}) != has(oldSelf.{name}) ? '{name}'" for name in frozen)
    spec["x-kubernetes-validations"] = [
        *(
            {"optionalOldSelf": True, **rule, "rule": f"oldSelf.hasValue() || ({rule['rule']})"}
            for rule in _job_shape()
        ),
        {
            "rule": f"self == oldSelf || ({same})",
            "message": "no field can be added or removed after creation",
            "messageExpression": f"({first} : 'a field') + ' cannot be changed after creation'",
        },
    ]


def _guard(status: dict[str, Any]) -> None:
    """What a late or foreign writer must not do, whatever it believes."""
    terminal = ", ".join(f"'{phase}'" for phase in sorted(TERMINAL))
    again = "oldSelf.phase == 'Failed' && self.phase == 'Pending' && self.redrives > oldSelf.redrives"
    ended = {
        "rule": f"!(oldSelf.phase in [{terminal}]) || self.phase == oldSelf.phase || ({again})",
        "message": "the job has ended; only a redrive opens a failed one again",
    }
    # `kubectl wait` goes by the conditions: without them it would hang at a job that somebody ended by hand.
    kinds = "self.phase == 'Succeeded' ? ['Complete', 'Finished'] : self.phase == 'Failed' ? ['Failed', 'Finished'] : ['Finished']"  # fmt: skip
    told = "has(self.conditions) && self.conditions.exists(one, one.type == kind && one.status == 'True')"
    complete = {
        "rule": f"self.phase == oldSelf.phase || !(self.phase in [{terminal}]) || ({kinds}).all(kind, {told})",
        "message": "an ended job has the conditions of its end: Finished, and Complete or Failed, each with status True",
    }
    status["x-kubernetes-validations"] = [ended, complete]
    for name in ("attempts", "redrives"):
        _rises(status, name, f"{name} never decrease")


def _rises(schema: dict[str, Any], name: str, message: str) -> None:
    """A field with a default, so that it cannot be taken away either."""
    schema["properties"][name]["x-kubernetes-validations"] = [{"rule": "self >= oldSelf", "message": message}]


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Column:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if wide else {})


def _age() -> Column:
    return _column("Age", ".metadata.creationTimestamp", "date")


def documents() -> dict[str, str]:
    """The files by name."""
    made = {"job.yaml": job_crd(), "queue.yaml": queue_crd(), "schedule.yaml": schedule_crd()}
    return {name: HEADER + _yaml(crd) for name, crd in made.items()}


class _Dumper(yaml.SafeDumper):
    """Without anchors: every object is written where it stands."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # yaml's signature
        return True


def _yaml(value: object) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True))


def main(arguments: Sequence[str]) -> None:
    """Write the files into the folder that the one argument names."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m longshore_operator.crds FOLDER")
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
