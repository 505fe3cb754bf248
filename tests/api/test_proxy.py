"""The service behind a real nginx: a path prefix, TLS, answers that are buffered and answers that are not."""

import http.client
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from conftest import eventually, needs_program
from kube.certificates import Authority
from service import Answer, Service, free_port

CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    proxy_http_version 1.1;
    location /stripped/ {{
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_pass http://127.0.0.1:{service}/;
      proxy_set_header X-Forwarded-Prefix /stripped;
      proxy_buffering on;
    }}
    location /kept/ {{
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_pass http://127.0.0.1:{service};
      proxy_set_header X-Forwarded-Prefix /kept;
      proxy_buffering off;
    }}
    location /rooted/ {{
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_pass http://127.0.0.1:{service}/;
    }}
  }}
}}
"""
PREFIXES = ["/stripped", "/kept", "/rooted"]


class Proxied(NamedTuple):
    """The service, and how to reach it from outside."""

    service: Service
    port: int
    authority: Path

    def connect(self) -> http.client.HTTPSConnection:
        """A connection to the proxy, whose certificate is checked."""
        context = ssl.create_default_context(cafile=str(self.authority))
        return http.client.HTTPSConnection("localhost", self.port, timeout=30, context=context)

    def ask(self, method: str, target: str, body: object = None, **headers: str) -> Answer:
        """One request through the proxy."""
        connection = self.connect()
        try:
            data = None if body is None else orjson.dumps(body)
            own = {"Content-Type": "application/json"} if data is not None else {}
            connection.request(method, target, data, {**own, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Both, in a folder of their own, as whoever runs the tests."""
    needs_program("nginx")
    folder = tmp_path_factory.mktemp("proxied")
    folder.chmod(0o755)
    certificates = Authority(folder / "certificates")
    certificate = certificates.server("proxy", ["127.0.0.1"])
    service = Service(folder / "data", {"trusted_proxies": "127.0.0.1", "root_path": "/rooted"})
    service.start()
    port = free_port()
    text = CONFIGURATION.format(
        folder=folder, port=port, service=service.port, certificate=certificate, key=certificate.with_suffix(".key")
    )
    (folder / "nginx.conf").write_text(text)
    command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    nginx = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    found = Proxied(service, port, certificates.folder / "ca.crt")
    try:
        eventually(lambda: nginx.poll() is None and _answers(found), what="an answer through nginx")
        yield found
    finally:
        nginx.terminate()
        nginx.wait(10)
        service.end()


def _answers(found: Proxied) -> bool:
    try:
        return found.ask("GET", "/stripped/livez").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_link_leads_back_through_the_proxy(proxied: Proxied, prefix: str) -> None:
    submitted = proxied.ask("POST", f"{prefix}/v1/jobs", {"handler": "echo"})
    assert 202 == submitted.status, submitted.body
    assert submitted.headers["Location"] == f"{prefix}/v1/jobs/{submitted.json()['id']}"
    ended = proxied.ask("GET", submitted.headers["Location"] + "?wait=10").json()

    for name, link in ended["links"].items():
        assert link.startswith(f"{prefix}/v1/jobs/"), name
        assert 200 == proxied.ask("GET", link).status, name
    links = proxied.ask("GET", f"{prefix}/").json()["links"]
    assert {200} == {proxied.ask("GET", link).status for name, link in links.items() if name not in ("batch", "events")}
    browser = proxied.ask("GET", f"{prefix}/", Accept="text/html")
    assert (302, f"{prefix}/docs") == (browser.status, browser.headers["Location"])


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_page_finds_its_files_and_its_document_behind_a_prefix(proxied: Proxied, prefix: str) -> None:
    page = proxied.ask("GET", f"{prefix}/docs").body.decode()
    document = proxied.ask("GET", f"{prefix}/openapi.json").json()

    assert [{"url": prefix}] == document["servers"]
    assert 'src="docs/start.js"' in page
    assert '"openapi.json"' in proxied.ask("GET", f"{prefix}/docs/start.js").body.decode()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_stream_comes_through_as_it_happens(proxied: Proxied, prefix: str) -> None:
    id = proxied.ask("POST", f"{prefix}/v1/jobs", {"handler": "echo", "suspend": True}).json()["id"]
    connection = proxied.connect()
    connection.request("GET", f"{prefix}/v1/jobs/{id}/events", headers={"Accept": "text/event-stream"})
    stream = connection.getresponse()
    seen: list[str] = []

    def read() -> None:
        seen.extend(line.decode().split()[1] for line in stream if line.startswith(b"event: "))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        eventually(lambda: seen == ["submitted"], what="the first event")
        assert reader.is_alive(), "it came while the stream goes on"
        proxied.ask("POST", f"{prefix}/v1/jobs/{id}:resume")
        eventually(lambda: seen[-1:] == ["succeeded"], what="the last event")
    finally:
        reader.join(20)
        connection.close()


def test_a_page_of_the_proxys_own_address_may_drive_the_service(proxied: Proxied) -> None:
    own, foreign = f"https://localhost:{proxied.port}", "https://elsewhere.example"

    assert 202 == proxied.ask("POST", "/kept/v1/jobs", {"handler": "echo"}, Origin=own).status
    assert 403 == proxied.ask("POST", "/kept/v1/jobs", {"handler": "echo"}, Origin=foreign).status


def test_what_the_caller_claims_does_not_reach_past_the_proxy(proxied: Proxied) -> None:
    lies = {"X-Forwarded-Prefix": "//evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "6.6.6.6"}
    through = proxied.ask("POST", "/stripped/v1/jobs", {"handler": "echo"}, **lies)
    rooted = proxied.ask("POST", "/rooted/v1/jobs", {"handler": "echo"}, **lies)

    assert (202, "/stripped/v1/jobs/") == (through.status, through.headers["Location"][:18])
    assert (202, "/rooted/v1/jobs/") == (rooted.status, rooted.headers["Location"][:16]), "no link to another host"


def test_nobody_but_a_trusted_proxy_is_believed(start_service: Callable[..., Service]) -> None:
    service = start_service(trusted_proxies="10.0.0.0/8,::1")
    lies = {"X-Forwarded-Prefix": "/lie", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    answer = service.request("POST", "/v1/jobs", {"handler": "echo"}, headers=lies)
    redirected = service.request("GET", "/v1/", headers=lies)

    assert (202, "/v1/jobs/") == (answer.status, answer.headers["Location"][:9])
    assert "/v1/jobs" == redirected.json()["links"]["jobs"]


@pytest.mark.parametrize("value", ["10.0.0.0/33", "proxy.example", "10.0.0.1/8"])
def test_a_proxy_is_an_address_or_a_network(value: str) -> None:
    from longshore import settings
    from longshore.errors import SettingsError

    with pytest.raises(SettingsError, match="trusted_proxies"):
        settings.load(environment={"LONGSHORE_TRUSTED_PROXIES": value})


@pytest.mark.parametrize("value", ["longshore", "/longshore/", "//evil.example", "/a b", "https://x"])
def test_a_root_path_is_a_path(value: str) -> None:
    from longshore import settings
    from longshore.errors import SettingsError

    with pytest.raises(SettingsError, match="root_path"):
        settings.load(environment={"LONGSHORE_ROOT_PATH": value})
