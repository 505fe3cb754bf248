"""What comes from a slot is bytes until it is checked: whatever a job writes there is the end of its slot, not of the engine."""

import struct
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.engine import place as places
from longshore.engine.reports import BadReport, Done, Report, take
from longshore.job.status import Outcome, Reason
from real_pool import APPS, RealPool
from service import Service
from worker_service import Worker


def nested_done(levels: int) -> str:
    return '{"done":{"outcome":"succeeded","result":' + "[" * levels + "]" * levels + "}}"


FORGED = [
    pytest.param('{"done":{"outcome":"succeeded","result":1}}', id="no nonce"),
    pytest.param('{"done":{"outcome":"succeeded","result":1,"nonce":"NONCE"}}', id="another nonce"),
    pytest.param('{"done":{"outcome":"failed","exit":18446744073709551615}}', id="an exit of 64 bits"),
    pytest.param('{"done":{"outcome":"succeeded","result":1,"rss":4611686018427387904}}', id="more memory than there is"),
    pytest.param('{"done":{"outcome":"succeeded","result":1,"rss":-1}}', id="memory below nothing"),
    pytest.param('{"done":{"outcome":"oom","reason":"x"}}', id="out of memory"),
    pytest.param('{"done":{"outcome":"lost","reason":"WorkerLost"}}', id="lost, which would be repeated for ever"),
    pytest.param('{"done":{"outcome":"failed","reason":"a\\u0000b"}}', id="a reason with a zero byte"),
    pytest.param('{"done":{"outcome":"failed","reason":"HandlerError","error":["T","\\ud800"]}}', id="half a surrogate pair"),
    pytest.param(nested_done(300), id="300 levels"),
    pytest.param(nested_done(5_000), id="5000 levels"),
    pytest.param('{"done":{"outcome":"succeeded","result":NaN}}', id="a result that is no number"),
    pytest.param('{"done":{"outcome":["succeeded"],"result":1}}', id="an outcome that is a list"),
    pytest.param('{"done":{"outcome":"succeeded","result":1,"recycle":"made-up"}}', id="a made-up reason to go"),
    pytest.param('{"hello":1}', id="another birth"),
    pytest.param('{"ready":99999999999999999999}', id="ready again"),
    pytest.param('{"progress":[1e400,"x"]}', id="progress without bounds"),
    pytest.param('{"progress":[1,{"a":1}]}', id="progress that says no text"),
]  # fmt: skip


@pytest.fixture
def forging(make_pool: Callable[..., RealPool]) -> RealPool:
    return make_pool(apps=(*APPS, "forging_jobs"))


def args(**named: object) -> bytes:
    return orjson.dumps(named)


@pytest.mark.parametrize("body", FORGED)
def test_a_forged_frame_ends_its_own_attempt_at_most(forging: RealPool, body: str) -> None:
    ended = forging.run("forges", args(body=body))

    # What is told in time is the job's own word; else its slot was broken.
    assert ended.reason == Reason.SLOT_BROKEN or b'"late"' == ended.result
    assert b"{}" == forging.run("echo").result


@pytest.mark.parametrize("field", ["result", "error", "traceback", "reason", "names"])
def test_limits_hold_for_a_job_that_speaks_in_place_of_its_slot(forging: RealPool, field: str) -> None:
    ended = forging.run("forges_much", args(megabytes=2, field=field))

    assert (Outcome.FAILED, Reason.SLOT_BROKEN) == (ended.outcome, ended.reason)
    assert len(ended.error_message) <= 1024
    assert b"{}" == forging.run("echo").result


def test_a_job_that_tells_its_end_and_goes_on_does_not_answer_for_the_next(forging: RealPool, tmp_path: Path) -> None:
    said = '{"done":{"outcome":"succeeded","result":"early","nonce":"NONCE"}}'
    first = forging.run("forges", args(body=said, known=True, go_on=str(tmp_path / "go")))
    key = forging.start("appends_after", args(path=str(tmp_path / "ran")))
    (tmp_path / "go").touch()
    second = forging.end_of(key)

    assert b'"early"' == first.result
    assert (Outcome.LOST, Reason.SLOT_BROKEN) == (second.outcome, second.reason), (
        "it never ran, and not by its own fault"
    )
    assert not (tmp_path / "ran").exists()
    assert b"{}" == forging.run("echo").result


def test_what_an_ended_job_says_of_itself_ends_no_other(forging: RealPool, tmp_path: Path) -> None:
    assert b'"mine"' == forging.run("forges_later", args(gate=str(tmp_path / "gate"))).result
    key = forging.start("naps", args(seconds=0.01))
    (tmp_path / "gate").touch()
    ended = forging.end_of(key)

    assert (Outcome.LOST, None) == (ended.outcome, ended.result)
    assert b"{}" == forging.run("echo").result


def test_a_frame_that_never_becomes_whole_does_not_hold_its_attempt_for_ever(
    forging: RealPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "FRAME_SECONDS", 0.2)

    assert Reason.SLOT_BROKEN == forging.run("begins_a_frame").reason
    assert b"{}" == forging.run("echo").result


@pytest.mark.parametrize("how", ["list", "fragment"])
@pytest.mark.parametrize("levels", [101, 250, 300, 1_100, 20_000])
def test_a_result_that_is_nested_too_deeply_is_the_job_s_failure(forging: RealPool, levels: int, how: str) -> None:
    ended = forging.run("nested", args(levels=levels, how=how))

    assert (Outcome.FAILED, Reason.RESULT_NOT_JSON) == (ended.outcome, ended.reason)
    assert b"{}" == forging.run("echo").result


def test_a_result_of_a_hundred_levels_is_kept(forging: RealPool) -> None:
    assert b"[" * 100 == (forging.run("nested", args(levels=100)).result or b"")[:100]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [('{"a":', "utf-8"), ("NaN", "utf-8"), ('"ü"', "latin-1"), ("", "utf-8"), ("1 2", "utf-8"), ('"\\ud800"', "utf-8")],
)
def test_stored_json_that_is_none_is_the_job_s_failure(forging: RealPool, text: str, encoding: str) -> None:
    ended = forging.run("stored", args(text=text, encoding=encoding))

    assert (Outcome.FAILED, Reason.RESULT_NOT_JSON) == (ended.outcome, ended.reason)
    assert b"{}" == forging.run("echo").result


# -- whole services --------------------------------------------------------------------------------------------------


def test_a_service_outlives_all_that_its_jobs_write(start_service: Callable[..., Service]) -> None:
    service = start_service(apps="longshore_samples.echo,forging_jobs", slots=1)
    bodies = [str(param.values[0]) for param in FORGED]
    jobs = [{"handler": "forges", "args": {"body": body}} for body in bodies]
    jobs += [{"handler": "nested", "args": {"levels": levels, "how": "fragment"}} for levels in (300, 2_000)]
    jobs += [{"handler": "forges_much", "args": {"megabytes": 30, "field": field}} for field in ("result", "error")]
    for job in jobs:
        answer = service.request("POST", "/v1/jobs", job, headers={"Prefer": "wait=20"}).json()
        assert answer["status"]["phase"] in ("Failed", "Succeeded"), answer

    after = service.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=20"}).json()
    assert "Succeeded" == after["status"]["phase"]


def test_a_worker_outlives_all_that_its_jobs_write(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "worker", {"apps": "longshore_samples.echo,forging_jobs", "slots": 1})
    try:
        worker.start()
        for param in FORGED:
            assert worker.run("forges", args={"body": param.values[0]}).outcome in (Outcome.FAILED, Outcome.SUCCEEDED)
        deep = worker.run("nested", args={"levels": 300, "how": "fragment"})
        assert (Outcome.FAILED, Reason.RESULT_NOT_JSON) == (deep.outcome, deep.reason)
        assert {} == worker.run("echo").result
    finally:
        worker.end()


# -- any bytes -------------------------------------------------------------------------------------------------------

json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
fields = st.sampled_from(
    ["outcome", "reason", "error", "traceback", "recycle", "rss", "nonce", "result", "names", "exit"]
)
words = st.sampled_from(["succeeded", "failed", "cancelled", "lost", "", "HandlerError", "Cancelled", "threads"])
ends = st.builds(lambda end: {"done": end}, st.dictionaries(fields, json | words, max_size=8))
frames = (
    st.dictionaries(st.sampled_from(["done", "progress", "hello", "ready", "nonce", "run"]), json, max_size=3) | ends
)
bodies = st.binary(max_size=200) | st.builds(orjson.dumps, frames | json)
streams = st.lists(st.builds(lambda body, off: struct.pack(">I", max(0, len(body) + off)) + body, bodies, st.sampled_from([0, 0, 0, 1, -1, 2**31])), max_size=4)  # fmt: skip


def read_all(data: bytes, limit: int | None) -> list[Report]:
    buffer, found = bytearray(data), []
    while (report := take(buffer, limit)) is not None:
        found.append(report)
    return found


@given(streams, st.sampled_from([None, 0, 30, 1 << 20]))
def test_whatever_a_slot_writes_is_a_report_or_refused(pieces: list[bytes], limit: int | None) -> None:
    try:
        found = read_all(b"".join(pieces), limit)
    except BadReport:
        return
    for report in found:
        if isinstance(report, Done):
            assert report.outcome in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED)
            assert report.result is None or len(report.result) <= (limit or 0)
            assert max(map(len, (report.error_type, report.reason, report.nonce)), default=0) <= 200
            assert len(report.error_message) <= 1024
            assert report.exit_code is None
            assert 0 <= report.rss < 2**63


@given(st.binary(max_size=100), st.integers(0, 100))
def test_a_report_is_the_same_in_whatever_pieces_it_comes(junk: bytes, cut: int) -> None:
    body = orjson.dumps({"done": {"outcome": "succeeded", "result": junk.hex(), "nonce": "n"}})
    data = struct.pack(">I", len(body)) + body
    buffer = bytearray(data[:cut])
    first = take(buffer, 1 << 20)
    buffer += data[cut:]

    assert [first or take(buffer, 1 << 20)] == read_all(data, 1 << 20)
