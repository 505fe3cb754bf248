"""The api over TLS: handshakes, records, renewed certificates, and callers who do not behave."""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import eventually
from kube.certificates import Authority
from mounted_secret import MountedSecret, shown, trusting
from service import Service

PAGE = "/docs/swagger-ui-bundle.js"


class Site:
    """A service whose certificate is renewed at will."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        self.secret = MountedSecret(folder / "secret")
        self.secret.issue(self.authority, "localhost")
        self.service = Service(folder / "service", {"tls_dir": self.secret.folder, "request_seconds": 2})
        self.service.tls = trusting(self.authority)
        self.service.start()

    @contextlib.contextmanager
    def connection(self, receive_bytes: int = 0) -> Iterator[ssl.SSLSocket]:
        """One to the api, which has shaken hands."""
        assert self.service.tls is not None
        plain = socket.socket()
        if receive_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plain.settimeout(10)
        plain.connect(("127.0.0.1", self.service.port))
        # Without its end in TLS, an answer that was cut off looks whole.
        with self.service.tls.wrap_socket(plain, suppress_ragged_eofs=False) as sock:
            yield sock

    @property
    def broken_handshakes(self) -> float:
        text = self.service.request("GET", "/metrics").body.decode()
        wanted = 'longshore_http_connections_closed_total{reason="handshake"} '
        return next((float(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted)), 0.0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("tls"))
    yield site
    site.service.end()


def read_all(sock: ssl.SSLSocket, piece: int = 65536) -> bytes:
    data = b""
    while found := sock.recv(piece):
        data += found
    return data


def test_a_job_is_submitted_and_read_over_tls(site: Site) -> None:
    answer = site.service.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=10"})

    assert (200, "Succeeded") == (answer.status, answer.json()["status"]["phase"])
    assert '"url":"https://' in site.service.log.read_text()


def test_the_application_knows_that_it_is_called_over_tls(site: Site) -> None:
    location = site.service.request("POST", "/v1/jobs", {"handler": "echo"}).headers["Location"]
    servers = site.service.request("GET", "/openapi.json").json().get("servers", [])

    assert not [text for text in (location, json.dumps(servers)) if "http://" in text]


def test_plain_http_is_refused_and_counted(site: Site) -> None:
    before = site.broken_handshakes
    with socket.create_connection(("127.0.0.1", site.service.port), timeout=10) as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/" not in sock.recv(65536)
    eventually(lambda: site.broken_handshakes > before, what="the count")


@pytest.mark.parametrize("begin", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a hello"])
def test_a_silent_handshake_delays_nobody_and_ends(site: Site, begin: bytes) -> None:
    before = site.broken_handshakes
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", site.service.port), timeout=10))
            sock.sendall(begin)
        assert [200] * 5 == [site.service.request("GET", "/livez", timeout=4).status for _ in range(5)]
        eventually(lambda: site.broken_handshakes >= before + 64, what="the end of all 64")


def test_a_large_body_and_a_large_answer_come_whole(site: Site) -> None:
    jobs = [{"handler": "echo", "args": {"x": "y" * 9_000}} for _ in range(200)]
    taken = site.service.request("POST", "/v1/jobs:batch", {"jobs": jobs})
    plain = site.service.request("GET", PAGE).body
    with site.connection(receive_bytes=4096) as sock:
        sock.sendall(f"GET {PAGE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        slow = read_all(sock, 8192).partition(b"\r\n\r\n")[2]

    assert (202, len(plain)) == (taken.status, len(slow)), taken.body[:300]
    assert plain == slow


def test_an_answer_that_is_not_taken_holds_no_thread(site: Site) -> None:
    page = f"GET {PAGE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 3
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(site.connection(receive_bytes=4096)).sendall(page)
        assert 200 == site.service.request("GET", "/livez", timeout=4).status


def test_two_requests_in_one_record_are_both_answered(site: Site) -> None:
    one = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with site.connection() as sock:
        sock.sendall(one + one + last)
        answers = read_all(sock)

    assert 3 == answers.count(b"HTTP/1.1 200 OK")


def test_a_request_in_many_records_is_one_request(site: Site) -> None:
    body = b'{"handler":"echo"}'
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with site.connection() as sock:
        for at in head % len(body) + body:
            sock.sendall(bytes([at]))
        answer = http.client.HTTPResponse(sock)
        answer.begin()

        assert 202 == answer.status


def test_half_a_request_after_the_handshake_is_answered_408(site: Site) -> None:
    with site.connection() as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: ")
        answer = read_all(sock)

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_new_connections_are_shown_a_renewed_certificate(site: Site) -> None:
    trust = trusting(site.authority)
    with site.connection() as kept:
        serial = site.secret.issue(site.authority, "localhost")
        assert serial == shown(site.service.port, trust)
        kept.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_all(kept).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("what", ["tls_crt", "tls_key"])
def test_files_that_do_not_fit_leave_the_last_certificate_in_use(site: Site, what: str) -> None:
    trust = trusting(site.authority)
    serial = site.secret.issue(site.authority, "localhost")
    assert serial == shown(site.service.port, trust)
    other = site.authority.server("other", ["127.0.0.1"])
    part = other if what == "tls_crt" else other.with_suffix(".key")
    site.secret.update(**{what: part.read_bytes()})  # the half of a change

    assert [serial] * 2 == [shown(site.service.port, trust) for _ in range(2)]
    assert "the last good one stays in use" in site.service.log.read_text()
    serial = site.secret.issue(site.authority, "localhost")
    assert serial == shown(site.service.port, trust)


def test_a_service_without_its_certificate_says_so_and_does_not_start(tmp_path: Path) -> None:
    service = Service(tmp_path, {"tls_dir": tmp_path / "nowhere"})
    service.start(ready=False)

    assert 0 != service.wait_end()
    assert "tls.crt and tls.key cannot be used: No such file or directory" in service.log.read_text()


def test_a_caller_that_leaves_a_wait_over_tls_is_noticed_at_once(site: Site) -> None:
    def waiting() -> bool:
        return b"\nlongshore_waiting_requests 0.0\n" not in site.service.request("GET", "/metrics").body

    body = {"handler": "echo", "startAfter": "2999-01-01T00:00:00Z"}
    job = site.service.request("POST", "/v1/jobs", body).json()["id"]
    with site.connection() as sock:
        sock.sendall(f"GET /v1/jobs/{job}?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        eventually(waiting, what="the wait")

    eventually(lambda: not waiting(), seconds=6, what="the end of the wait")
