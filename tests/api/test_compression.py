"""Answers above 1 KiB are compressed for whoever asks, and mean the same as without."""

import gzip

import orjson
import pytest

from longshore.api.compression import accepts_gzip
from service import Answer, Service


@pytest.fixture(scope="module")
def job(shared_service: Service) -> str:
    body = {"handler": "echo", "args": {"text": "all work and no play " * 200}}
    return str(shared_service.request("POST", "/v1/jobs", body, headers={"Prefer": "wait=10"}).json()["id"])


def asked(service: Service, path: str, method: str = "GET", **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in ({"Accept_Encoding": "gzip"} | headers).items()}
    return service.request(method, path, headers=given)


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("GZIP;q=0.5", True),
        ("*", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("deflate, br", False),
        ("", False),
        (";;,=q,gzip;q=²", True),
    ],
)
def test_quality_decides(header: str, taken: bool) -> None:
    assert accepts_gzip(header) is taken


def test_a_compressed_answer_is_the_same_and_smaller(shared_service: Service, job: str) -> None:
    plain, packed = (asked(shared_service, f"/v1/jobs/{job}", Accept_Encoding=way) for way in ("identity", "gzip"))

    assert ("gzip", None) == (packed.headers["Content-Encoding"], plain.headers.get("Content-Encoding"))
    assert ["Accept-Encoding"] * 2 == [answer.headers["Vary"] for answer in (plain, packed)]
    assert plain.json() == orjson.loads(gzip.decompress(packed.body))
    assert len(plain.body) > 4 * len(packed.body) == 4 * int(packed.headers["Content-Length"])


def test_each_form_has_its_tag_and_both_stand_for_the_state(shared_service: Service, job: str) -> None:
    path = f"/v1/jobs/{job}"
    plain, packed = (asked(shared_service, path, Accept_Encoding=way).headers["ETag"] for way in ("identity", "gzip"))
    again = [
        asked(shared_service, path, Accept_Encoding=way, If_None_Match=tag)
        for way in ("identity", "gzip")
        for tag in (plain, packed)
    ]

    assert packed == f'{plain[:-1]}-gzip"'
    assert [304] * 4 == [answer.status for answer in again]
    assert (packed, "Accept-Encoding") == (again[3].headers["ETag"], again[3].headers["Vary"])
    assert 412 == asked(shared_service, path, "DELETE", If_Match='"00000000-0-gzip"').status
    assert 204 == asked(shared_service, path, "DELETE", If_Match=packed).status


@pytest.mark.parametrize("path", ["/livez", "/v1/jobs/no-such-job", "/v1/jobs?limit=1&phase=Running"])
def test_small_answers_are_left_alone(shared_service: Service, path: str) -> None:
    found = asked(shared_service, path)

    assert (None, None) == (found.headers.get("Content-Encoding"), found.headers.get("Vary"))


def test_streams_are_left_alone(shared_service: Service) -> None:
    shown = ["sh", "-c", "seq 2000"]
    job = shared_service.request("POST", "/v1/jobs", {"command": shown}, headers={"Prefer": "wait=10"}).json()["id"]
    followed = asked(shared_service, f"/v1/jobs/{job}/logs?follow=true")
    whole = asked(shared_service, f"/v1/jobs/{job}/logs")
    events = asked(shared_service, f"/v1/jobs/{job}/events", Accept="text/event-stream")

    assert [None, "gzip", None] == [answer.headers.get("Content-Encoding") for answer in (followed, whole, events)]
    assert followed.body == gzip.decompress(whole.body)
    assert events.body.startswith(b"retry:")


def test_files_are_compressed_but_not_pieces_of_them(shared_service: Service) -> None:
    path = "/docs/swagger-ui.css"
    whole, packed = asked(shared_service, path, Accept_Encoding="identity"), asked(shared_service, path)
    piece = asked(shared_service, path, Range="bytes=0-2999")

    assert whole.body == gzip.decompress(packed.body)
    assert (206, None, whole.body[:3000]) == (piece.status, piece.headers.get("Content-Encoding"), piece.body)
    assert 304 == asked(shared_service, path, If_None_Match=packed.headers["ETag"]).status


def test_head_tells_of_the_form_that_get_would_have(shared_service: Service) -> None:
    path = "/openapi.json"
    packed, head = asked(shared_service, path), asked(shared_service, path, "HEAD")

    assert ("gzip", None, b"") == (head.headers["Content-Encoding"], head.headers.get("Content-Length"), head.body)
    assert packed.headers.get("ETag") == head.headers.get("ETag")


def test_metrics_and_problems_are_compressed_too(shared_service: Service) -> None:
    wrong = {"jobs": [{"handler": "echo", f"wrong{n}": 1} for n in range(40)]}
    metrics = asked(shared_service, "/metrics")
    problem = shared_service.request("POST", "/v1/jobs:batch", wrong, headers={"Accept-Encoding": "gzip"})

    assert b"longshore_waiting_requests" in gzip.decompress(metrics.body)
    assert (422, "gzip") == (problem.status, problem.headers.get("Content-Encoding"))
