"""Headers of answers without content, as proxies and strict clients read them."""

import http.client

import pytest

from service import Service

OF_CONTENT = {"content-type", "content-length", "content-encoding", "content-security-policy", "transfer-encoding"}


def asked(service: Service, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by lower-case name, and every byte that came after the head until the service closed."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    try:
        connection.putrequest(method, path)
        for name, value in {"Connection": "close", **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        assert connection.sock is not None
        head, _, rest = b"".join(iter(lambda: connection.sock.recv(65536), b"")).partition(b"\r\n\r\n")
    finally:
        connection.close()
    lines = head.decode("latin-1").split("\r\n")
    found = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), {name.lower(): value for name, value in found.items()}, rest


@pytest.fixture(scope="module")
def job(shared_service: Service) -> str:
    return str(
        shared_service.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=10"}).json()["id"]
    )


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/jobs", "GET, HEAD, OPTIONS, POST"),
        ("/v1/jobs/{job}", "DELETE, GET, HEAD, OPTIONS"),
        ("/v1/jobs/{job}:cancel", "OPTIONS, POST"),
        ("/v1/queues/default", "GET, HEAD, OPTIONS, PATCH"),
        ("/livez", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
    ],
)
def test_options_tell_the_methods_and_have_no_content(
    shared_service: Service, job: str, path: str, allowed: str
) -> None:
    status, headers, rest = asked(shared_service, "OPTIONS", path.format(job=job))

    assert (204, b"") == (status, rest)
    assert set(allowed.split(", ")) == set(headers["allow"].split(", "))
    assert not OF_CONTENT & headers.keys()


def test_options_of_no_route_are_not_found(shared_service: Service) -> None:
    assert 404 == asked(shared_service, "OPTIONS", "/v1/nothing")[0]


def test_answers_without_content_describe_none(shared_service: Service) -> None:
    id = shared_service.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=10"}).json()["id"]
    tag = shared_service.request("GET", f"/v1/jobs/{id}").headers["ETag"]
    answers = [
        asked(shared_service, "GET", f"/v1/jobs/{id}", If_None_Match=tag),
        asked(shared_service, "HEAD", f"/v1/jobs/{id}", If_None_Match=tag),
        asked(shared_service, "GET", f"/v1/jobs/{id}/events", Accept="text/event-stream", Last_Event_ID="9" * 17),
        asked(shared_service, "DELETE", f"/v1/jobs/{id}"),
    ]

    assert [304, 304, 204, 204] == [status for status, _, _ in answers]
    for _, headers, rest in answers:
        assert (b"", set()) == (rest, OF_CONTENT & headers.keys())
        assert headers["x-request-id"]


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs/{job}", "/v1/jobs/{job}/logs", "/v1/jobs/{job}/events", "/v1/status", "/docs", "/no"]
)
def test_head_has_the_headers_of_get_and_no_content(shared_service: Service, job: str, path: str) -> None:
    whole, alone = (asked(shared_service, method, path.format(job=job)) for method in ("GET", "HEAD"))
    changing = {"date", "x-request-id"}

    assert (whole[0], b"") == (alone[0], alone[2])
    assert {k: v for k, v in whole[1].items() if k not in changing} == {
        k: v for k, v in alone[1].items() if k not in changing
    }
    assert len(whole[2]) == int(alone[1]["content-length"])
