"""The resource definitions on a real API server: what it takes, what it refuses and what people see."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from job_specs import job_specs
from kube.api_service import conditions_of
from kube.control_plane import ControlPlane
from longshore.job.patterns import CRON_SHAPE, WEB_ADDRESS, matches
from longshore.job.queues import QueueSpec, QueueStatus
from longshore.job.schedule import ScheduleSpec, ScheduleStatus
from longshore.job.spec import API_VERSION, parse_spec, spec_json
from longshore.job.status import JobStatus

ROOT = Path(__file__).parents[2]
CRDS, EXAMPLES = ROOT / "manifests/crds", ROOT / "manifests/examples"
GROUP = f"/apis/{API_VERSION}/namespaces"
NOW = "2026-11-21T08:00:00.000000Z"
JSON_PATCH = "application/json-patch+json"

Eventually = Callable[..., Any]


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """The API server with our definitions, in force."""
    done = control_plane.kubectl("apply", "--server-side", "-f", str(CRDS), check=True)
    assert "" == done.stderr, "the API server warns"
    wait = ("wait", "crd", "--for=condition=Established", "--timeout=60s")
    control_plane.kubectl(*wait, *(f"{plural}.longshore.dev" for plural in ("jobs", "queues", "schedules")), check=True)
    return control_plane


def resource(kind: str, name: str, spec: object, **metadata: object) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def post(cluster: ControlPlane, namespace: str, made: dict[str, Any], *, dry: bool = False) -> tuple[int, Any]:
    path = f"{GROUP}/{namespace}/{made['kind'].lower()}s?fieldValidation=Strict" + ("&dryRun=All" if dry else "")
    return cluster.request("POST", path, made)


def make_job(cluster: ControlPlane, namespace: str, name: str = "one", **spec: Any) -> dict[str, Any]:
    status, answer = post(cluster, namespace, resource("Job", name, {"handler": "echo"} | spec))
    assert 201 == status, answer
    return dict(answer)


def try_spec(cluster: ControlPlane, **spec: object) -> tuple[int, str]:
    """What the API server would say to a job of this specification."""
    status, answer = post(cluster, "default", resource("Job", "tried", spec), dry=True)
    return status, answer.get("message", "")


def change(cluster: ControlPlane, job: dict[str, Any], body: object, *, part: str = "") -> tuple[int, Any]:
    """A merge patch of the job, or of its part ``/status``."""
    meta = job["metadata"]
    return cluster.request(
        "PATCH", f"{GROUP}/{meta['namespace']}/jobs/{meta['name']}{part}?fieldValidation=Strict", body
    )


def write_status(cluster: ControlPlane, job: dict[str, Any], **fields: object) -> tuple[int, Any]:
    told = {"conditions": conditions_of(str(fields.get("phase", "")))}
    return change(cluster, job, {"status": (told if told["conditions"] else {}) | fields}, part="/status")


def test_the_definitions_are_in_force_and_structural(cluster: ControlPlane) -> None:
    found = json.loads(cluster.kubectl("get", "crd", "-o", "json", check=True).stdout)["items"]
    ours = [crd for crd in found if crd["spec"]["group"] == "longshore.dev"]

    assert ["jobs", "queues", "schedules"] == sorted(crd["spec"]["names"]["plural"] for crd in ours)
    for crd in ours:
        conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
        assert {"NamesAccepted": "True", "Established": "True"} == conditions  # no NonStructuralSchema


def test_definitions_applied_twice_do_not_change(cluster: ControlPlane) -> None:
    def generations() -> str:
        return cluster.kubectl("get", "crd", "-o", "jsonpath={.items[*].metadata.generation}", check=True).stdout

    before = generations()
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS), check=True)
    assert before == generations()


def test_a_new_job_is_pending_without_a_write(cluster: ControlPlane, namespace: str) -> None:
    job = make_job(cluster, namespace)

    assert {"phase": "Pending", "attempts": 0, "redrives": 0} == job["status"]
    assert 1 == job["metadata"]["generation"]
    assert JobStatus() == JobStatus.model_validate_json(json.dumps(job["status"]))


def test_a_status_that_comes_with_a_new_job_is_dropped(cluster: ControlPlane, namespace: str) -> None:
    made = resource("Job", "eager", {"handler": "echo"}) | {"status": {"phase": "Succeeded", "attempts": 7}}

    assert {"phase": "Pending", "attempts": 0, "redrives": 0} == post(cluster, namespace, made)[1]["status"]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=job_specs())
def test_what_the_model_takes_the_api_server_takes(cluster: ControlPlane, spec: dict[str, Any]) -> None:
    stored = json.loads(spec_json(parse_spec(json.dumps(spec))))

    for form in (spec, stored):  # as people write it, and as the service writes it
        status, answer = post(cluster, "default", resource("Job", "tried", form), dry=True)
        assert 201 == status, answer
    assert parse_spec(json.dumps(spec)).model_dump() == parse_spec(json.dumps(answer["spec"])).model_dump()


# What engines disagree about: spaces, digits, letters and ends of line beyond ASCII, and what URL libraries forgive.
ODD = st.text(
    st.sampled_from("\u00a0\u2003\u0085\x1c\v\f\n\r\t \u00b2\u0663\u0130\u017f\u212aa1Z-_.:/?#@[]\\%*0,5x"), max_size=12
)
HOST = st.integers(240, 265).map(lambda length: ".".join(["a" * 49] * 6)[: length - 1].rstrip(".") + "b")
CLOCKS = ("2026-01-31", "2026-02-30", "0000-01-01", "0001-01-01", "9999-12-31", "T", "t", " ", "08:00:00", "08:00", "24:00:00",
          "08:00:60", ".5", ",5", "x5", ".1234567890", "Z", "z", "+01:00", "+0100", "-99:99", "+24:00", "\u221201:00", "1767225600")  # fmt: skip
TIMES = st.one_of(
    st.builds("{}{}{}{}{}".format, *(st.sampled_from(part) for part in (
        CLOCKS[:5], CLOCKS[5:8], CLOCKS[8:12], ("", *CLOCKS[12:16]), CLOCKS[16:23]))),
    st.lists(st.sampled_from(CLOCKS), max_size=6).map("".join), ODD.map("2026-01-31T08:00:00{}".format),
)  # fmt: skip
LABEL_KEYS = st.one_of(
    ODD, ODD.map("a{}a".format), ODD.map("a.b/{}".format), ODD.map("{}/a".format),
    st.integers(60, 66).map(lambda n: "a" * n), st.integers(250, 256).map(lambda n: f"{'a' * n}/{'b' * 63}"),
)  # fmt: skip


def schedule(**fields: Any) -> tuple[str, dict[str, Any]]:
    return "Schedule", {"cron": "@daily", "jobTemplate": {"spec": {"handler": "a"}, **fields}}


FIELDS: dict[str, tuple[st.SearchStrategy[str], Callable[[str], tuple[str, dict[str, Any]]]]] = {
    "webhook.url": (
        st.one_of(ODD.map("http://{}".format), ODD.map("https://[::1]{}".format), ODD.map("http://h{}".format),
                  st.from_regex(WEB_ADDRESS.removesuffix("$") + r"\Z").filter(lambda url: len(url) < 250)),
        lambda text: ("Job", {"handler": "a", "webhook": {"url": text}}),
    ),
    "handler": (st.one_of(ODD, ODD.map("a{}".format)), lambda text: ("Job", {"handler": text})),
    "queue": (st.one_of(ODD, ODD.map("a{}a".format)), lambda text: ("Job", {"handler": "a", "queue": text})),
    "fairnessKey": (ODD, lambda text: ("Job", {"handler": "a", "fairnessKey": text})),
    "resources.memory": (st.one_of(ODD, ODD.map("1{}".format)), lambda text: ("Job", {"handler": "a", "resources": {"memory": text}})),
    "after": (st.one_of(ODD, ODD.map("a{}".format)), lambda text: ("Job", {"handler": "a", "after": [text]})),
    "webhook.url's host": (HOST, lambda text: ("Job", {"handler": "a", "webhook": {"url": f"https://{text}:8443/"}})),
    "startAfter": (TIMES, lambda text: ("Job", {"handler": "a", "startAfter": text})),
    "label's key": (LABEL_KEYS, lambda text: schedule(labels={text: "a"})),
    "label's value": (st.one_of(ODD, ODD.map("a{}a".format), st.integers(60, 66).map(lambda n: "a" * n)),
                      lambda text: schedule(labels={"a": text})),
    "env": (st.one_of(ODD, ODD.map("A{}".format)), lambda text: ("Job", {"command": ["a"], "env": {text: ""}})),
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(data=st.data())
def test_a_text_is_taken_by_both_or_by_none(cluster: ControlPlane, field: str, data: st.DataObject) -> None:
    """Go's classes and those of pydantic, on the texts that they differ about."""
    texts, of = FIELDS[field]
    kind, spec = of(data.draw(texts))
    try:
        if kind == "Job":
            parse_spec(json.dumps(spec))
        else:
            ScheduleSpec.model_validate_json(json.dumps(spec), by_alias=True, by_name=False)
        ours = ""
    except ValidationError as error:
        ours = str(error)
    status, answer = post(cluster, "default", resource(kind, "tried", spec), dry=True)

    assert (status == 201) == (not ours), (spec, answer.get("message"), ours)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(ODD, ODD.map("* * * * {}".format), st.lists(ODD, min_size=5, max_size=5).map(" ".join)))
def test_what_the_schedule_model_takes_the_api_server_takes_and_its_shape_is_the_same(
    cluster: ControlPlane, text: str
) -> None:
    """The fields themselves are beyond a pattern; the shape, blanks included, is not."""
    spec = {"cron": text, "jobTemplate": {"spec": {"handler": "a"}}}
    status, answer = post(cluster, "default", resource("Schedule", "tried", spec), dry=True)

    assert (status == 201) == matches(CRON_SHAPE, text), (text, answer.get("message"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.one_of(ODD, ODD.map("a{}a".format), st.integers(60, 66).map(lambda n: "a" * n)))
def test_a_queue_can_be_made_by_every_name_that_a_job_can_say(cluster: ControlPlane, name: str) -> None:
    try:
        parse_spec(json.dumps({"handler": "a", "queue": name}))
        taken = True
    except ValidationError:
        taken = False
    status, answer = post(cluster, "default", resource("Queue", name, {}), dry=True)

    assert (status == 201) == taken, (name, answer.get("message"))


ZONES = st.one_of(
    st.sampled_from(sorted(available_timezones())), ODD, ODD.map("Europe/{}".format), ODD.map("UTC{}".format),
    st.sampled_from(["Europe", "America/Argentina", "leapseconds", "posixrules", "localtime", "a/../UTC", "/UTC", "Etc/GMT+24", "a" * 65]),
)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(zone=ZONES)
def test_every_time_zone_that_the_model_knows_the_api_server_takes(cluster: ControlPlane, zone: str) -> None:
    """Which zones there are is beyond a pattern: the operator says `Ready` is False for those that it does not know."""
    spec = {"cron": "@daily", "timeZone": zone, "jobTemplate": {"spec": {"handler": "a"}}}
    try:
        ScheduleSpec.model_validate_json(json.dumps(spec), by_alias=True, by_name=False)
        known = True
    except ValidationError:
        known = False
    status, answer = post(cluster, "default", resource("Schedule", "tried", spec), dry=True)

    assert status == 201 or not known, (zone, answer.get("message"))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "neither handler nor command": ({}, "exactly one of handler and command must be given"),
    "both": ({"handler": "a", "command": ["a"]}, "exactly one of handler and command must be given"),
    "unknown field": ({"handler": "a", "retries": 3}, 'unknown field "spec.retries"'),
    "unknown field, deeper": ({"handler": "a", "retry": {"max": 3}}, 'unknown field "spec.retry.max"'),
    "handler of bad form": ({"handler": "0 a"}, "spec.handler"),
    "empty handler": ({"handler": ""}, "spec.handler"),
    "long handler": ({"handler": "a" * 201}, "spec.handler: Too long"),
    "empty command": ({"command": []}, "spec.command"),
    "long command": ({"command": ["a"] * 129}, "spec.command: Too many"),
    "command with args": ({"command": ["a"], "args": {"x": 1}}, "args belongs to a handler"),
    "handler with env": ({"handler": "a", "env": {"A": "1"}}, "env belongs to a command"),
    "bad name in env": ({"command": ["a"], "env": {"A-B": "1"}}, "no environment variable name"),
    "number in env": ({"command": ["a"], "env": {"A": 1}}, "spec.env.A"),
    "args is a list": ({"handler": "a", "args": [1]}, "spec.args"),
    "queue of bad form": ({"handler": "a", "queue": "A_b"}, "spec.queue"),
    "long queue": ({"handler": "a", "queue": "q" * 64}, "spec.queue: Too long"),
    "priority too high": ({"handler": "a", "priority": 1_000_001}, "spec.priority"),
    "priority is a fraction": ({"handler": "a", "priority": 1.5}, "spec.priority"),
    "priority is text": ({"handler": "a", "priority": "1"}, "spec.priority"),
    "no time zone": ({"handler": "a", "startAfter": "2026-01-01T08:00:00"}, "spec.startAfter"),
    "no time": ({"handler": "a", "startAfter": "tomorrow"}, "spec.startAfter"),
    "host of more than 253 characters": ({"handler": "a", "webhook": {"url": "https://" + ".".join(["a" * 60] * 5)}},
                                         "whose host has at most 253 characters"),
    "a second word for the T": ({"handler": "a", "startAfter": "2026-01-01 08:00:00Z"}, "spec.startAfter"),
    "seconds with anything before their fraction": ({"handler": "a", "startAfter": "2026-01-01T08:00:00x5Z"}, "spec.startAfter"),
    "zero deadline": ({"handler": "a", "startDeadlineSeconds": 0}, "spec.startDeadlineSeconds"),
    "zero timeout": ({"handler": "a", "timeoutSeconds": 0}, "spec.timeoutSeconds"),
    "negative timeout": ({"handler": "a", "timeoutSeconds": -1}, "spec.timeoutSeconds"),
    "eleven years": ({"handler": "a", "timeoutSeconds": 11 * 365 * 86_400}, "spec.timeoutSeconds"),
    "negative retries": ({"handler": "a", "maxRetries": -1}, "spec.maxRetries"),
    "too many retries": ({"handler": "a", "maxRetries": 1001}, "spec.maxRetries"),
    "negative disruptions": ({"handler": "a", "maxDisruptions": -1}, "spec.maxDisruptions"),
    "negative retention": ({"handler": "a", "ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
    "back-off that shrinks": ({"handler": "a", "retry": {"factor": 0.5}}, "spec.retry.factor"),
    "too much jitter": ({"handler": "a", "retry": {"jitter": 1.1}}, "spec.retry.jitter"),
    "retry names twice": ({"handler": "a", "retry": {"except": ["E", "E"]}}, "spec.retry.except[1]: Duplicate value"),
    "after names twice": ({"handler": "a", "after": ["b", "b"]}, "spec.after[1]: Duplicate value"),
    "after is no name": ({"handler": "a", "after": ["B c"]}, "spec.after[0]"),
    "items and count": ({"handler": "a", "items": [{}], "count": 1}, "items and count exclude each other"),
    "items of a command": ({"command": ["a"], "items": [{}]}, "items belongs to a handler"),
    "no items": ({"handler": "a", "items": []}, "spec.items"),
    "an item is no object": ({"handler": "a", "items": [1]}, "spec.items[0]"),
    "too many items": ({"handler": "a", "items": [{}] * 10_001}, "spec.items: Too many"),
    "count zero": ({"handler": "a", "count": 0}, "spec.count"),
    "parallelism of one job": ({"handler": "a", "parallelism": 2}, "parallelism needs items or count"),
    "parallelism zero": ({"handler": "a", "count": 2, "parallelism": 0}, "spec.parallelism"),
    "webhook without address": ({"handler": "a", "webhook": {}}, "spec.webhook.url: Required"),
    "webhook by ftp": ({"handler": "a", "webhook": {"url": "ftp://a/"}}, "spec.webhook.url"),
    "webhook on nothing": ({"handler": "a", "webhook": {"url": "http://a", "on": []}}, "spec.webhook.on"),
    "webhook on what is no end": ({"handler": "a", "webhook": {"url": "http://a", "on": ["Running"]}}, "spec.webhook.on[0]"),
    "memory in words": ({"handler": "a", "resources": {"memory": "much"}}, "spec.resources.memory"),
    "cancel is text": ({"handler": "a", "cancel": "yes"}, "spec.cancel"),
    "negative redrive": ({"handler": "a", "redrive": -1}, "spec.redrive"),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "says"), BAD.values(), ids=BAD.keys())
def test_what_the_model_refuses_the_api_server_refuses(cluster: ControlPlane, spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError):
        parse_spec(json.dumps(spec))

    status, message = try_spec(cluster, **spec)
    assert status in (400, 422)
    assert says in message


def test_a_null_is_an_absent_field(cluster: ControlPlane) -> None:
    spec = {"handler": "echo", "command": None, "args": None, "timeoutSeconds": None, "webhook": None, "redrive": None}
    status, answer = post(cluster, "default", resource("Job", "tried", spec), dry=True)

    assert 201 == status, answer
    assert {"handler", "queue", "priority", "cancel", "suspend", "redrive"} == set(answer["spec"])


def test_args_beyond_etcds_limit_are_refused(cluster: ControlPlane, namespace: str) -> None:
    """Between our 64 KiB and this limit only the operator can tell: the size of free data is invisible to a schema."""
    too_large = {"handler": "echo", "args": {"text": "x" * 1_700_000}}
    status, answer = post(cluster, namespace, resource("Job", "large", too_large))

    assert 400 <= status
    assert "too large" in answer["message"]
    assert 404 == cluster.request("GET", f"{GROUP}/{namespace}/jobs/large")[0]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"handler": "a", "args": {"text": "x" * 65_536}}, "at most 65536 are allowed"),
        ({"command": ["a\0b"]}, "zero byte"),
        ({"command": [""]}, "empty word"),
    ],
)
def test_what_only_the_operator_can_judge(cluster: ControlPlane, spec: dict[str, Any], says: str) -> None:
    """The API server takes it; who reads the job must look at it with the model."""
    assert 201 == try_spec(cluster, **spec)[0]
    with pytest.raises(ValidationError, match=says):
        parse_spec(json.dumps(spec))


FULL: dict[str, Any] = {
    "queue": "reports", "handler": "echo", "args": {"a": {"b": [1, None, "c"]}}, "priority": 3, "fairnessKey": "f",
    "concurrencyKey": "c", "startAfter": NOW, "startDeadlineSeconds": 60, "timeoutSeconds": 1.5, "maxRetries": 3,
    "retry": {"initialSeconds": 2, "except": ["ValueError"]}, "maxDisruptions": 4, "ttlSecondsAfterFinished": 0,
    "items": [{"n": 1}, {"n": 2}], "parallelism": 2, "after": ["first", "second"], "resources": {"memory": "1Gi"},
    "webhook": {"url": "https://example.com/hook", "secretRef": "key", "on": ["Failed"]},
}  # fmt: skip
CHANGED = {
    "queue": "other", "handler": "other", "command": ["true"], "args": {"a": {"b": [1, None, "d"]}}, "env": {"A": "b"},
    "priority": 4, "fairnessKey": "g", "concurrencyKey": None, "startAfter": "2026-11-21T08:00:01Z",
    "startDeadlineSeconds": None, "timeoutSeconds": 2, "maxRetries": 0, "retry": {"initialSeconds": 3},
    "maxDisruptions": None, "ttlSecondsAfterFinished": 1, "items": [{"n": 1}, {"n": 3}], "count": 3, "parallelism": None,
    "after": ["first"], "resources": None, "webhook": {"secretRef": None},
}  # fmt: skip


def test_no_field_can_be_changed_and_the_refusal_names_it(cluster: ControlPlane, namespace: str) -> None:
    job = make_job(cluster, namespace, **FULL)

    said = {name: change(cluster, job, {"spec": {name: value}}) for name, value in CHANGED.items()}

    for name, (status, answer) in said.items():
        assert 422 == status, name
        fields = {cause["field"]: cause["message"] for cause in answer["details"]["causes"]}
        came_or_went = name not in FULL or CHANGED[name] is None  # then no rule of the field itself can see it
        where = "spec" if came_or_went else f"spec.{name}"
        assert f"{name} cannot be changed after creation" in fields.get(where, ""), fields


def test_what_is_meant_to_change_can(cluster: ControlPlane, namespace: str) -> None:
    job = make_job(cluster, namespace, **FULL)

    for body in (
        {"spec": {"suspend": True}}, {"spec": {"suspend": False}}, {"spec": {"cancel": True}}, {"spec": {"redrive": 1}},
        {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}}, {"spec": {"queue": "reports"}},
    ):  # fmt: skip
        status, answer = change(cluster, job, body)
        assert 200 == status, answer
    lowered = change(cluster, job, {"spec": {"redrive": 0}})
    assert (422, True) == (lowered[0], "redrive can only be raised" in lowered[1]["message"])


LARGEST: dict[str, dict[str, Any]] = {
    "many small items": {"handler": "echo", "items": [{"n": n, "text": "x" * 30} for n in range(10_000)]},
    "few large items": {"handler": "echo", "items": [{"text": ["x" * 50] * 100} for _ in range(90)]},
    "args of many names": {"handler": "echo", "args": {f"n{n}": n for n in range(5_000)}, "after": ["a" * 250 + str(n) for n in range(64)]},
    "a long command": {"command": ["x" * 4096] * 128, "env": {f"{'N' * 250}{n}": "x" * 8192 for n in range(64)}},
}  # fmt: skip


@pytest.mark.parametrize("spec", LARGEST.values(), ids=LARGEST.keys())
def test_the_largest_jobs_stay_within_the_cost_of_rules(
    cluster: ControlPlane, namespace: str, spec: dict[str, Any]
) -> None:
    parse_spec(json.dumps(spec))
    job = make_job(cluster, namespace, **{"handler": None} | spec)

    assert 200 == change(cluster, job, {"spec": {"cancel": True}})[0]
    assert 200 == write_status(cluster, job, **full_status())[0]
    refused = change(cluster, job, {"spec": {name: None for name in spec if name != "handler"}})
    assert (422, True) == (refused[0], "cannot be changed after creation" in refused[1]["message"])


PHASES = ["Pending", "Running", "Succeeded", "Failed", "Cancelled"]


@pytest.mark.parametrize("old", PHASES)
@pytest.mark.parametrize("new", PHASES)
@pytest.mark.parametrize("redriven", [False, True], ids=["", "redriven"])
def test_an_end_is_an_end(cluster: ControlPlane, namespace: str, old: str, new: str, redriven: bool) -> None:
    job = make_job(cluster, namespace)
    assert 200 == write_status(cluster, job, phase=old, attempts=1)[0]

    status, answer = write_status(cluster, job, phase=new, redrives=int(redriven))

    open_end = old in ("Pending", "Running") or old == new or (old, new, redriven) == ("Failed", "Pending", True)
    assert (200 if open_end else 422) == status
    if not open_end:
        assert "only a redrive opens a failed one again" in answer["message"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Cancelled"])
def test_an_end_without_the_conditions_that_a_wait_goes_by_is_refused(
    cluster: ControlPlane, namespace: str, phase: str
) -> None:
    job = make_job(cluster, namespace)
    whole = conditions_of(phase)
    for told in ([], whole[:-1], [one | {"status": "False"} for one in whole]):
        status, answer = write_status(cluster, job, phase=phase, conditions=told)
        assert (422, True) == (status, "an ended job has the conditions of its end" in answer["message"])
    assert 200 == write_status(cluster, job, phase=phase, conditions=whole)[0]
    assert 200 == change(cluster, job, {"status": {"message": "a word more"}}, part="/status")[0]


@pytest.mark.parametrize("counter", ["attempts", "redrives"])
@pytest.mark.parametrize("lower", [1, None, -1])
def test_counters_never_decrease(cluster: ControlPlane, namespace: str, counter: str, lower: int | None) -> None:
    job = make_job(cluster, namespace)
    assert 200 == write_status(cluster, job, **{counter: 2})[0]

    status, answer = write_status(cluster, job, **{counter: lower})

    assert 422 == status
    assert f"{counter} never decrease" in answer["message"]


def test_a_phase_that_nobody_knows_is_refused(cluster: ControlPlane, namespace: str) -> None:
    status, answer = write_status(cluster, make_job(cluster, namespace), phase="Done")
    assert (422, True) == (status, "status.phase" in answer["message"])


def test_an_attempts_record_is_written_once(cluster: ControlPlane, namespace: str) -> None:
    """The one write of a short job, and the same again from somebody who comes too late."""
    job = make_job(cluster, namespace)
    ended = {"phase": "Succeeded", "attempts": 1, "redrives": 0, "result": {"x": 1}, "finishedAt": NOW,
             "conditions": conditions_of("Succeeded")}  # fmt: skip
    record = [
        {"op": "test", "path": "/metadata/uid", "value": job["metadata"]["uid"]},
        {"op": "test", "path": "/status/attempts", "value": 0},
        {"op": "add", "path": "/status", "value": ended},
    ]
    path = f"{GROUP}/{namespace}/jobs/one/status"

    assert 200 == cluster.request("PATCH", path, record, content_type=JSON_PATCH)[0]
    assert 422 == cluster.request("PATCH", path, record, content_type=JSON_PATCH)[0]
    foreign = [{"op": "test", "path": "/metadata/uid", "value": "other"}, *record[2:]]
    assert 422 == cluster.request("PATCH", path, foreign, content_type=JSON_PATCH)[0]


def full_status() -> dict[str, Any]:
    text, error = "x" * 1024, {"type": "t" * 200, "message": "m" * 1024}
    attempt = {"number": 3, "index": 2, "worker": "pod-1", "startedAt": NOW, "finishedAt": NOW, "outcome": "timed_out",
               "reason": "TimedOut", "exitCode": -9}  # fmt: skip
    condition = {"status": "True", "reason": "Done", "message": text, "lastTransitionTime": NOW}
    every_other = ",".join(map(str, range(0, 10_000, 2)))
    return {
        "phase": "Failed", "reason": "r" * 200, "message": text, "attempts": 20_000, "retries": 5, "disruptions": 2,
        "redrives": 1, "notBefore": NOW, "worker": "w" * 253, "startedAt": NOW, "finishedAt": NOW,
        "result": {"text": "x" * 16_000, "list": [1, None, 2.5, {"deep": True}]}, "resultRef": "file:///results/one",
        "error": error, "logTail": "l" * 4096, "progress": {"percent": 99.5, "message": "nearly"}, "history": [attempt] * 10,
        "items": {"succeeded": 4990, "failed": 5000, "running": 10, "succeededIndexes": every_other,
                  "failedIndexes": every_other, "unkeptIndexes": every_other, "errors": [{"index": 1, "error": error}] * 20},
        "conditions": [condition | {"type": kind} for kind in ("Complete", "Failed", "Finished", "WebhookDelivered")],
    }  # fmt: skip


def test_a_status_of_everything_is_kept(cluster: ControlPlane, namespace: str) -> None:
    job, status = make_job(cluster, namespace), full_status()

    code, answer = write_status(cluster, job, **status)

    assert 200 == code, answer
    assert status == answer["status"]
    assert JobStatus.model_validate_json(json.dumps(status)) == JobStatus.model_validate_json(
        json.dumps(answer["status"])
    )
    assert set(status) == {field.alias for field in JobStatus.model_fields.values()}, "the test has lost a field"


@pytest.mark.parametrize("result", [7, "text", True, [1, "two"], {"a": [None]}])
def test_a_result_is_any_json(cluster: ControlPlane, namespace: str, result: object) -> None:
    answer = write_status(cluster, make_job(cluster, namespace), result=result)[1]
    read = cluster.must("GET", f"{GROUP}/{namespace}/jobs/one")
    assert (result, result) == (answer["status"]["result"], read["status"]["result"])


@pytest.mark.parametrize("field", ["history", "conditions"])
def test_lists_of_the_status_are_bounded(cluster: ControlPlane, namespace: str, field: str) -> None:
    entries = full_status()[field]
    status, answer = write_status(cluster, make_job(cluster, namespace), **{field: [*entries, entries[0]]})

    assert 422 == status
    assert f"status.{field}" in answer["message"]


def test_conditions_can_be_waited_for(cluster: ControlPlane, namespace: str) -> None:
    job, wait = make_job(cluster, namespace), ("wait", "lsj/one", "-n", namespace, "--for=condition=Finished")
    assert 0 != cluster.kubectl(*wait, "--timeout=0").returncode
    write_status(
        cluster, job, phase="Cancelled", conditions=[{"type": "Finished", "status": "True", "lastTransitionTime": NOW}]
    )

    assert "job.longshore.dev/one condition met" in cluster.kubectl(*wait, "--timeout=20s", check=True).stdout


@pytest.mark.parametrize(("length", "expected"), [(253, 201), (254, 422)])
def test_the_longest_name(cluster: ControlPlane, namespace: str, length: int, expected: int) -> None:
    assert expected == post(cluster, namespace, resource("Job", "n" * length, {"handler": "echo"}))[0]


def test_jobs_are_found_by_field(cluster: ControlPlane, namespace: str) -> None:
    make_job(cluster, namespace, "a")
    make_job(cluster, namespace, "b", queue="reports")
    make_job(cluster, namespace, "c", handler="sleep")
    write_status(cluster, make_job(cluster, namespace, "d"), phase="Succeeded")

    def found(selector: str) -> str:
        flags = ("-n", namespace, "--field-selector", selector, "-o", "jsonpath={.items[*].metadata.name}")
        return cluster.kubectl("get", "lsj", *flags, check=True).stdout

    assert "b" == found("spec.queue=reports")
    assert "a b d" == found("spec.handler=echo")
    assert "a b c" == found("status.phase!=Succeeded,status.phase!=Cancelled")
    assert "a c" == found("status.phase=Pending,spec.queue=default")


def rows(cluster: ControlPlane, namespace: str, *what: str) -> list[list[str]]:
    return [line.split() for line in cluster.kubectl("get", *what, "-n", namespace, check=True).stdout.splitlines()]


def test_what_people_see(cluster: ControlPlane, namespace: str) -> None:
    job = make_job(cluster, namespace, queue="reports")
    write_status(cluster, job, phase="Running", attempts=2, worker="pod-1", reason="Why", startedAt=NOW, finishedAt=NOW)
    post(cluster, namespace, resource("Queue", "reports", {"concurrency": 4}))
    made = resource("Schedule", "s", {"cron": "@daily", "jobTemplate": {"spec": {"handler": "echo"}}})
    assert 201 == post(cluster, namespace, made)[0]

    heading, row = rows(cluster, namespace, "lsj")
    assert ["NAME", "PHASE", "QUEUE", "HANDLER", "ATTEMPTS", "WORKER", "AGE"] == heading
    assert ["one", "Running", "reports", "echo", "2", "pod-1"] == row[:-1]
    wide = rows(cluster, namespace, "lsj", "-o", "wide")[0]
    assert ["REASON", "STARTED", "FINISHED"] == wide[6:9]
    assert ["reports", "false", "4"] == rows(cluster, namespace, "lsq")[1][:3]
    assert ["s", "@daily", "UTC", "false"] == rows(cluster, namespace, "lss")[1][:4]
    category = cluster.kubectl("get", "longshore", "-n", namespace, "-o", "name", check=True).stdout.split()
    assert ["job.longshore.dev/one", "queue.longshore.dev/reports", "schedule.longshore.dev/s"] == sorted(category)


def test_the_fields_explain_themselves(cluster: ControlPlane, eventually: Eventually) -> None:
    def explain(path: str) -> str:
        return " ".join(cluster.kubectl("explain", path, "--api-version", API_VERSION).stdout.split())

    said = eventually(lambda: explain("lsj.spec.maxRetries"), what="the API server's document")
    assert "FIELD: maxRetries <integer>" in said
    assert (
        "Attempts after the first that failures may cost; without one the handler's, then the queue's, then 0." in said
    )
    assert "Why it stands there, in one word." in explain("lsj.status.reason")
    assert "by its IANA name" in explain("lss.spec.timeZone")


def test_every_example_applies_twice_and_is_what_the_models_take(cluster: ControlPlane, namespace: str) -> None:
    files = sorted(EXAMPLES.glob("*.yaml"))
    assert len(files) >= 9
    first = cluster.kubectl("apply", "-n", namespace, "-f", str(EXAMPLES), check=True)
    again = cluster.kubectl("apply", "-n", namespace, "-f", str(EXAMPLES), check=True)

    assert "" == first.stderr + again.stderr
    lines = again.stdout.splitlines()
    assert len(lines) >= len(files)
    assert [line for line in lines if line.endswith(" unchanged")] == lines
    models: dict[str, Callable[[str], object]] = {
        "Job": parse_spec,
        "Queue": QueueSpec.model_validate_json,
        "Schedule": ScheduleSpec.model_validate_json,
    }
    for path in files:
        for document in yaml.safe_load_all(path.read_text()):
            models[document["kind"]](json.dumps(document["spec"]))


def test_a_queue_has_its_defaults_and_can_change(cluster: ControlPlane, namespace: str) -> None:
    path = f"{GROUP}/{namespace}/queues/q"
    made = post(cluster, namespace, {"apiVersion": API_VERSION, "kind": "Queue", "metadata": {"name": "q"}})[1]

    assert QueueSpec() == QueueSpec.model_validate_json(json.dumps(made["spec"]))
    for spec in ({"paused": True}, {"ageingSeconds": 5}, {"rateLimit": {"jobs": 5}}, {"fairnessWeights": {"a": 0.5}}):
        read = cluster.must("PATCH", path, {"spec": spec})["spec"]
        QueueSpec.model_validate_json(json.dumps(read))
        assert [read[name] | value if isinstance(value, dict) else value for name, value in spec.items()] == [
            read[name] for name in spec
        ]
    # A merge patch with null removes the field, so "never" is written by replacing the object.
    cluster.must("PUT", path, cluster.must("GET", path) | {"spec": {"ageingSeconds": None}})
    assert cluster.must("GET", path)["spec"]["ageingSeconds"] is None
    status = QueueStatus.model_validate_json(
        json.dumps({"depth": 3, "running": 1, "oldestAgeSeconds": 4.5, "conditions": [
            {"type": "Ready", "status": "True", "observedGeneration": 2, "reason": "a", "message": "b", "lastTransitionTime": NOW}
        ]}))  # fmt: skip
    answer = cluster.must("PATCH", f"{path}/status", {"status": json.loads(status.model_dump_json())})
    assert status == QueueStatus.model_validate_json(json.dumps(answer["status"]))


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("q" * 64, {}), ("a.b", {}), ("q", {"concurrency": 0}), ("q", {"maxPending": -1}), ("q", {"ageingSeconds": 0}),
        ("q", {"fairnessWeights": {"a": 0}}), ("q", {"rateLimit": {"perSeconds": 1}}), ("q", {"speed": 1}),
    ],
)  # fmt: skip
def test_a_bad_queue_is_refused(cluster: ControlPlane, name: str, spec: dict[str, Any]) -> None:
    assert post(cluster, "default", resource("Queue", name, spec), dry=True)[0] in (400, 422)


TEMPLATE = {"spec": {"handler": "echo"}}


def test_a_schedule_has_its_defaults_and_a_status(cluster: ControlPlane, namespace: str) -> None:
    spec = {"cron": "30 6 * * mon-fri", "jobTemplate": TEMPLATE}
    made = post(cluster, namespace, resource("Schedule", "s", spec))[1]

    expected = ScheduleSpec.model_validate_json(json.dumps(spec))
    assert expected == ScheduleSpec.model_validate_json(json.dumps(made["spec"]))
    path, active = f"{GROUP}/{namespace}/schedules/s", [{"name": "s-29881470", "uid": "u"}]
    status = {"lastScheduleTime": NOW, "lastSuccessfulTime": NOW, "active": active}
    answer = cluster.must("PATCH", f"{path}/status", {"status": status})["status"]
    assert status == answer
    ScheduleStatus.model_validate_json(json.dumps(answer))
    cluster.must(
        "PATCH", path, {"spec": {"suspend": True, "cron": "@hourly", "jobTemplate": {"spec": {"priority": 1}}}}
    )


@pytest.mark.parametrize(
    "spec",
    [
        {"jobTemplate": TEMPLATE}, {"cron": "@daily"}, {"cron": "* * * *", "jobTemplate": TEMPLATE},
        {"cron": "@daily", "timeZone": "../UTC", "jobTemplate": TEMPLATE},
        {"cron": "@daily", "concurrencyPolicy": "Perhaps", "jobTemplate": TEMPLATE},
        {"cron": "@daily", "failedJobsHistoryLimit": -1, "jobTemplate": TEMPLATE},
        {"cron": "@daily", "jobTemplate": {"spec": {}}},
        {"cron": "@daily", "jobTemplate": {"spec": {"handler": "a", "command": ["b"]}}},
        {"cron": "@daily", "jobTemplate": {"spec": {"handler": "a", "parallelism": 2}}},
    ],
)  # fmt: skip
def test_a_bad_schedule_is_refused(cluster: ControlPlane, spec: dict[str, Any]) -> None:
    assert 422 == post(cluster, "default", resource("Schedule", "s", spec), dry=True)[0]
    with pytest.raises(ValidationError):
        ScheduleSpec.model_validate_json(json.dumps(spec))
