"""What a body may cost, by kind: refused before it is read, and never sent back at length."""

import json
from typing import Any

import orjson
import pytest

from longshore.api import manifest
from longshore.api.body_limits import ONE, TooLarge, many
from longshore.api.problems import NotJson
from service import Service

MIB = 1024 * 1024


def post(service: Service, path: str, raw: bytes, kind: str = "application/json") -> Any:
    return service.request("POST", path, raw=raw, headers={"Content-Type": kind})


def peak(service: Service) -> int:
    """The most memory that the api process has had, in bytes."""
    (pid,) = [pid for pid in service.child("gunicorn") if _parent_is_gunicorn(pid)]
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def _parent_is_gunicorn(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        parent = stat.read().rpartition(")")[2].split()[1]
    with open(f"/proc/{parent}/cmdline") as line:
        return "gunicorn" in line.read()


@pytest.mark.parametrize(
    ("case", "path", "raw", "kind"),
    [
        ("a large job", "/v1/jobs", b'{"handler":"echo","labels":{"%b":""}}' % (b"k" * MIB), "application/json"),
        ("a large manifest", "/v1/jobs", b"# " + b"x" * MIB, "application/yaml"),
        ("a large verb", "/v1/jobs/a:cancel", b'{"graceSeconds":1' + b" " * MIB + b"}", "application/json"),
        ("lists in a job", "/v1/jobs", b"[" + b"[]," * 300_000 + b"[]]", "application/json"),
        ("objects in a job", "/v1/jobs", b'{"args":[' + b'{"a":1},' * 120_000 + b"0]}", "application/json"),
        ("lists in a batch", "/v1/jobs:batch", b'{"jobs":[' + b"[]," * 5_000_000 + b"[]]}", "application/json"),
        ("levels in a batch", "/v1/jobs:batch", b"[" * 8_000_000, "application/json"),
        ("numbers in a batch", "/v1/jobs:batch", b"[" + b"1.5," * 4_000_000 + b"1]", "application/json"),
        ("YAML of many values", "/v1/jobs", b"- a\n" * 200_000, "application/yaml"),
    ],
)  # fmt: skip
def test_a_body_beyond_its_kind_is_refused_before_it_is_read(
    shared_service: Service, case: str, path: str, raw: bytes, kind: str
) -> None:
    answer = post(shared_service, path, raw, kind)

    assert (413, "/problems/too-large") == (answer.status, answer.json()["type"]), case
    assert len(answer.body) < 1000


def test_bodies_that_blow_up_leave_the_api_small(shared_service: Service) -> None:
    before = peak(shared_service)
    for raw in (
        b'{"jobs":[' + b"[]," * 5_000_000 + b"[]]}",
        b"[" * 15_000_000,
        b'{"jobs":[' + b'{"a":{}},' * 1_500_000 + b"0]}",
    ):
        assert 413 == post(shared_service, "/v1/jobs:batch", raw).status

    assert peak(shared_service) - before < 150 * MIB


def test_the_largest_honest_bodies_are_taken(shared_service: Service) -> None:
    items = {"handler": "echo", "items": [{"x": index} for index in range(10_000)], "suspend": True}
    batch = {"jobs": [{"handler": "echo", "args": {"x": "y" * 3000}, "suspend": True}] * 1000}
    yaml = b"apiVersion: longshore.dev/v1alpha1\nkind: Job\nmetadata: {name: largest}\nspec:\n  handler: echo\n  suspend: true\n  items:\n"
    one = post(shared_service, "/v1/jobs", orjson.dumps(items))
    many_ = post(shared_service, "/v1/jobs:batch", orjson.dumps(batch))
    written = post(
        shared_service,
        "/v1/jobs",
        yaml + b"".join(b"  - {x: %d}\n" % index for index in range(10_000)),
        "application/yaml",
    )

    assert [202, 202, 202] == [one.status, many_.status, written.status]
    names = [one.json()["id"], written.json()["id"], *(item["id"] for item in many_.json()["items"])]
    assert 1002 == len(names)
    for name in names[:2]:
        shared_service.request("POST", f"/v1/jobs/{name}:cancel", {"graceSeconds": 0})


@pytest.mark.parametrize(
    "raw",
    [
        b'{"handler":"echo","labels":{"%b":"x"}}' % (b"k" * 500_000),
        b'{"handler":"echo","labels":{"a":"%b"}}' % (b"v" * 500_000),
        b'{"handler":"%b"}' % (b"h" * 500_000),
        b'{"handler":"echo","%b":1}' % (b"f" * 500_000),
        b'{"handler":"echo","name":"%b"}' % (b"n" * 500_000),
        b'{"handler":"echo","args":{"x":1},"after":[%b]}' % b",".join([b'"A"'] * 10_000),
    ],
)
def test_what_was_sent_is_not_sent_back_at_length(shared_service: Service, raw: bytes) -> None:
    answer = post(shared_service, "/v1/jobs", raw)

    assert 422 == answer.status
    assert len(answer.body) < 20_000
    assert max(len(str(value)) for error in json.loads(answer.body)["errors"] for value in error.values()) < 1100


@pytest.mark.parametrize(
    "raw",
    [
        b"a: &x [1]\nb: *x\n",
        b"[" * 5000,
        b"x: " + b"1:" * 100_000 + b"1",
        b"x: " + b"9" * 5000,
        b"? " * 2000,
        b"!!python/object/apply:os.system [true]",
        b"\xff\xfe\x00",
    ],
)
def test_yaml_that_costs_more_than_it_says_is_no_body(raw: bytes) -> None:
    with pytest.raises(NotJson):
        manifest.parse(raw)


def test_long_digits_in_quotes_are_a_text() -> None:
    assert {"x": "9" * 5000} == manifest.parse(b'x: "' + b"9" * 5000 + b'"')[1]


def test_values_are_counted_without_reading_them() -> None:
    ONE.check_values(b"[" + b"{}," * 40_000 + b"{}]")
    with pytest.raises(TooLarge):
        ONE.check_values(b"[" + b"{}," * 60_000 + b"{}]")
    with pytest.raises(TooLarge):
        many(MIB).check_size(MIB + 1)


def test_odd_methods_are_no_series_of_the_metrics(shared_service: Service) -> None:
    statuses = {shared_service.request(f"ODD{number:05}".translate(str.maketrans("0123456789", "ABCDEFGHIJ")), "/v1/jobs").status
                for number in range(100)}  # fmt: skip

    assert {405} == statuses
    assert 'method="ODD' not in shared_service.request("GET", "/metrics").body.decode()
