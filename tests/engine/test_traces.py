"""One trace from the submit to the spans inside the handler, sent by OTLP; a bad collector costs spans and no job."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from service import Service
from trace_collector import Collector, collector
from worker_service import Worker

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def collecting() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    """A service whose spans go to an address."""
    started: list[Service] = []

    def start(endpoint: str) -> Service:
        service = Service(tmp_path / "traced", {"apps": "trace_jobs", "slots": 1, "log_level": "info"})
        started.append(service)
        environ = {ENDPOINT: endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        os.environ.update(environ)
        try:
            service.start()
        finally:
            for name in environ:
                del os.environ[name]
        return service

    yield start
    for service in started:
        service.end()


def test_one_trace_goes_from_the_request_through_the_queue_into_the_handler(
    traced: Callable[[str], Service], collecting: Collector, eventually: Callable[..., object]
) -> None:
    service = traced(collecting.address)
    job = {"handler": "renders", "args": {"fail_before": 1}, "maxRetries": 1, "retry": {"initialSeconds": 0.01}}
    answer = service.request("POST", "/v1/jobs", job, headers={
        "traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=1", "Prefer": "wait=30",
    })  # fmt: skip
    eventually(lambda: len(collecting.named("run renders")) == 2 and len(collecting.named("draw")) == 2
               and len(collecting.named("wait in queue")) == 2 and collecting.named("POST /v1/jobs"))  # fmt: skip
    (submit,) = collecting.named("POST /v1/jobs")
    first, second = collecting.named("run renders")
    spans = [submit, first, second, *collecting.named("draw"), *collecting.named("wait in queue")]

    assert "Succeeded" == answer.json()["status"]["phase"]
    assert {TRACE} == {span.trace_id.hex() for span in spans}
    assert SPAN == submit.parent_span_id.hex()
    assert submit.span_id == first.parent_span_id == second.parent_span_id
    assert [submit.span_id] * 2 == [span.parent_span_id for span in collecting.named("wait in queue")]
    assert [first.span_id, second.span_id] == [span.parent_span_id for span in collecting.named("draw")]
    assert ([], [first.span_id]) == ([*first.links], [link.span_id for link in second.links])
    assert (2, 1) == (first.status.code, 1 if second.status.code == 0 else second.status.code)
    lines = [orjson.loads(line) for line in service.log.read_text().splitlines() if '"line":"drawing"' in line]
    assert {TRACE} == {line["trace_id"] for line in lines}


def test_a_job_without_a_trace_has_one_of_its_own_from_its_submit(
    traced: Callable[[str], Service], collecting: Collector, eventually: Callable[..., object]
) -> None:
    service = traced(collecting.address)
    service.client().submit({"handler": "renders"}, wait=30)
    eventually(
        lambda: collecting.named("draw") and collecting.named("run renders") and collecting.named("POST /v1/jobs")
    )

    (submit,), (run,) = collecting.named("POST /v1/jobs"), collecting.named("run renders")
    assert (b"", submit.span_id, submit.trace_id) == (submit.parent_span_id, run.parent_span_id, run.trace_id)


@pytest.mark.parametrize("kind", ["dead", "silent", "nonsense"])
def test_a_bad_collector_neither_delays_nor_fails_a_job(traced: Callable[[str], Service], kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if kind == "dead":
            listener.close()
        elif kind == "nonsense":
            threading.Thread(target=_babble, args=(listener,), daemon=True).start()
        service = traced(f"http://127.0.0.1:{port}")
        ended = [service.client().submit({"handler": "renders"}, wait=30)["status"] for _ in range(20)]

        assert {"Succeeded"} == {status["phase"] for status in ended}
        service.request("POST", "/v1/jobs", {"handler": "renders", "name": "last"})
        output = service.client().wait("last")
        assert "Succeeded" == output["status"]["phase"]
        assert b"drawing\n" == service.request("GET", "/v1/jobs/last/logs").body
        assert 0 == service.stop()


def _babble(listener: socket.socket) -> None:
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer:
            peer.recv(65536)
            peer.sendall(b"\x00\xff no HTTP \r\n" * 100)


def test_a_worker_goes_on_with_the_trace_of_the_resource(
    tmp_path: Path, collecting: Collector, eventually: Callable[..., object]
) -> None:
    environ = {ENDPOINT: collecting.address, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    worker = Worker(tmp_path, {"apps": "trace_jobs", "slots": 1})
    os.environ.update(environ)
    try:
        worker.start()
        attempt = worker.attempt("renders", number=3, traceparent=f"00-{TRACE}-{SPAN}-01")
        worker.offer(attempt)
        worker.outcome(attempt)
        eventually(lambda: collecting.named("run renders") and collecting.named("draw"))
    finally:
        for name in environ:
            del os.environ[name]
        worker.end()

    (run,) = collecting.named("run renders")
    assert (TRACE, SPAN, 1) == (run.trace_id.hex(), run.parent_span_id.hex(), len(run.links))


def test_without_a_collector_nothing_of_opentelemetry_is_imported(start_service: Callable[..., Service]) -> None:
    service = start_service(slots=1)
    service.client().submit({"handler": "echo"}, wait=30)

    loaded = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    maps = [Path(f"/proc/{pid}/maps").read_text() for pid in loaded]
    assert not [text for text in maps if "google/_upb" in text or "protobuf" in text]
