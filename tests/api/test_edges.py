"""What stands at the edges of HTTP: numbers, preconditions, parameters and log lines, held against the real service."""

import http.client
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from longshore.api import openapi
from service import Answer, Service

ODD = ["²", "٣", "1_0", " 5", "-0", "nan", "1e999", "9" * 5000, "9" * 19, "s" + "9" * 20, "x\x00y", "\r", "%", "[", '"', '"x-²"',
       'W/"', "*", "a,b;c=d", "=;,", "wait=²", "wait=" + "9" * 5000, "http://[", "ÿ" * 40, "()", "😀", "A" * 3000]  # fmt: skip
HEADERS = ["If-Match", "If-None-Match", "Last-Event-ID", "Prefer", "Idempotency-Key", "traceparent", "tracestate",
           "Accept", "Accept-Encoding", "Origin", "Authorization", "X-Request-Id", "Range", "If-Modified-Since", "Content-Type",
           "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "Cookie", "User-Agent"]  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    found = Service(tmp_path_factory.mktemp("edges"), {"slots": 1, "access_log": "all", "log_format": "json"})
    found.start()
    yield found
    found.end()


@pytest.fixture
def job(service: Service) -> dict[str, Any]:
    """A job that waits."""
    found: dict[str, Any] = service.request("POST", "/v1/jobs", {"handler": "echo", "suspend": True}).json()
    return found


def sent(service: Service, method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    """One request as it is written here, with header values that a careful client would refuse to send."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            text = value.replace("\r", "").replace("\n", "").replace("\0", "")
            raw = text.encode("latin-1") if max(text, default="") <= "ÿ" else text.encode()
            connection._buffer.append(name.encode() + b": " + raw)  # type: ignore[attr-defined]  # putheader checks
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.headers), answer.read())
    finally:
        connection.close()


def operations(id: str) -> Iterator[tuple[str, str]]:
    """Every operation of the document, with the job in its place; what drains the service or never ends is left out."""
    for path, methods in openapi.document()["paths"].items():
        target = path.replace("{id}", id).replace("{name}", "default").replace("{file}", "start.js")
        for method in methods:
            if "admin:" not in path:
                yield method.upper(), target


# -- numbers and odd values ------------------------------------------------------------------------------------------


def test_no_header_makes_the_service_fail(service: Service, job: dict[str, Any]) -> None:
    choose = random.Random(12)
    for method, target in operations(job["id"]):
        for name in choose.sample(HEADERS, 4):
            value = choose.choice(ODD)
            body = b'{"handler":"echo","suspend":true}' if method in ("POST", "PATCH") else None
            headers = {"Content-Type": "application/json", name: value}
            answer = sent(service, method, target, headers, body)
            assert answer.status < 500, (method, target, name, value, answer.body)


def test_no_query_makes_the_service_fail(service: Service, job: dict[str, Any]) -> None:
    choose = random.Random(21)
    names = ["limit", "cursor", "after", "wait", "label", "phase", "queue", "handler", "attempt", "index", "offset",
             "namespace", "verbose", "nonsense"]  # fmt: skip
    for method, target in operations(job["id"]):
        if method != "GET":
            continue
        for name in names:
            value = choose.choice(ODD)
            answer = sent(service, method, f"{target}?{name}={quote(value, safe='')}", {})
            assert answer.status < 500, (target, name, value, answer.body)


@pytest.mark.parametrize("value", ["²", '"x-²"', "wait=²", '"0123abcd-²"', "9" * 5000, '"x-' + "9" * 5000 + '"'])
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match", "Last-Event-ID", "Prefer"])
def test_digits_of_other_scripts_are_no_numbers(service: Service, job: dict[str, Any], name: str, value: str) -> None:
    for path in (f"/v1/jobs/{job['id']}", f"/v1/jobs/{job['id']}/events?limit=1"):
        assert 200 == sent(service, "GET", path, {name: value}).status
    answer = sent(service, "POST", "/v1/jobs", {"Content-Type": "application/json", name: value}, b'{"handler":"echo"}')
    assert 202 == answer.status


def cursor(text: str) -> str:
    import base64

    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("text", ["s" + "9" * 19, "s²", "s-1", "s", "s1\n"])
def test_a_cursor_that_no_page_gave_is_refused(service: Service, text: str) -> None:
    answer = service.request("GET", f"/v1/jobs?cursor={cursor(text)}")

    assert (422, "cursor") == (answer.status, answer.json()["errors"][0]["parameter"])


@pytest.mark.parametrize("depth", [70, 190, 230, 300, 3000])
@pytest.mark.parametrize(
    "policy", ['{"rateLimit":%s}', '{"fairnessWeights":{"a":%s}}', '{"concurrency":%s}', '{"x":%s}']
)
def test_a_nested_policy_is_refused_by_its_field(service: Service, policy: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    answer = service.request("PATCH", "/v1/queues/default", raw=(policy % deep).encode())

    assert 422 == answer.status
    assert answer.json()["errors"][0]["pointer"].startswith("/")


KINDS: tuple[object, ...] = ({}, [], [{}], {"a": {}}, None, True, 1, -1.5, "", "Job", "\x00")


@pytest.mark.parametrize("route", ["/v1/jobs", "/v1/jobs:batch"])
def test_no_field_of_another_kind_makes_the_service_fail(service: Service, route: str) -> None:
    """A list or an object where a word is looked up, too."""
    whole = {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": "odd"}, "spec": {"handler": "echo"},
        "handler": "echo", "labels": {}, "after": [], "webhook": {}, "retry": {}, "items": [], "queue": "default",
    }  # fmt: skip
    for name in whole:
        for odd in KINDS:
            body: object = {**whole, name: odd}
            if route.endswith("batch"):
                body = {"jobs": [body], "labels": odd} if name == "labels" else {"jobs": [body]}
            assert service.request("POST", route, body).status < 500, (name, odd)


@pytest.mark.parametrize("labels", [{"team\n": "x"}, {"team": "x\n"}, {"te am": "x"}, {"team": "²"}])
def test_no_label_ends_in_a_new_line(service: Service, labels: dict[str, str]) -> None:
    assert 422 == service.request("POST", "/v1/jobs", {"handler": "echo", "labels": labels}).status


@pytest.mark.parametrize(
    "target", ["/v1/jobs/{id}%0a", "/v1/queues/default%0a", "/v1/jobs/{id}%0a/logs", "/v1/jobs/{id}:cancel%0a"]
)
def test_no_name_in_a_path_ends_in_a_new_line(service: Service, job: dict[str, Any], target: str) -> None:
    method = "POST" if "cancel" in target else "GET"
    assert 404 == sent(service, method, target.format(id=job["id"]), {}).status


@pytest.mark.parametrize(
    ("prefer", "waited"),
    [
        ("wait=10", True), ("wait=10; unit=s", True), ("respond-async, wait=10", True), ('foo="a, wait=0", WAIT="10"', True),
        ("wait=10, wait=0", True), ("wait=²", False), ("wait", False), ("foo; wait=10", False), ("wait=-1", False),
        ("wait=" + "9" * 5000, False),
    ],
)  # fmt: skip
def test_a_preference_is_read_as_its_rfc_says(service: Service, prefer: str, waited: bool) -> None:
    answer = sent(
        service, "POST", "/v1/jobs", {"Content-Type": "application/json", "Prefer": prefer}, b'{"handler":"echo"}'
    )

    assert (200 if waited else 202) == answer.status


# -- the log ---------------------------------------------------------------------------------------------------------


def test_nothing_in_a_path_forges_a_line_of_the_log(service: Service, eventually: Callable[..., Any]) -> None:
    forged = '{"action":"request","path":"/forged"}'
    for path in (f"/%0a{quote(forged)}", '/"%22,%22status%22:200}', "/%0d%0a%00%1b[31m", "/%c3%28"):
        sent(service, "GET", path, {"X-Request-Id": f"probe{len(path)}"})
    lines = eventually(
        lambda: [line for line in service.log.read_text().splitlines() if '"requestId":"probe' in line] or None
    )
    whole = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]

    assert lines
    assert not any(line.get("path") == "/forged" for line in whole)
    assert {"time", "level", "action", "method", "path", "status", "seconds", "requestId"} <= set(json.loads(lines[0]))


def test_the_log_names_a_request_as_its_answer_does(service: Service, eventually: Callable[..., Any]) -> None:
    answer = service.request("GET", "/v1/jobs/never-was")
    id = answer.headers["X-Request-Id"]

    assert id == answer.json()["requestId"]
    assert eventually(lambda: f'"requestId":"{id}"' in service.log.read_text(), what="the line")


# -- preconditions ---------------------------------------------------------------------------------------------------

VERBS = [(":suspend", "POST"), (":resume", "POST"), (":cancel", "POST"), (":redrive", "POST"), ("", "DELETE")]


@pytest.mark.parametrize(("verb", "method"), VERBS)
@pytest.mark.parametrize(
    "header",
    [{"If-Match": '"other-1"'}, {"If-Match": 'W/"{tag}"'}, {"If-None-Match": "*"}, {"If-None-Match": '"{tag}"'}],
)
def test_a_change_whose_precondition_fails_is_not_made(
    service: Service, job: dict[str, Any], verb: str, method: str, header: dict[str, str]
) -> None:
    path = f"/v1/jobs/{job['id']}"
    failed = verb == ":redrive"
    if failed or not verb:  # these want an ended job
        handler = {"handler": "fail", "args": {"times": 9}} if failed else {"handler": "echo"}
        path = f"/v1/jobs/{service.request('POST', '/v1/jobs', handler, headers={'Prefer': 'wait=10'}).json()['id']}"
    before = service.request("GET", path)
    tag = before.headers["ETag"].strip('"')
    answer = service.request(method, path + verb, headers={k: v.replace("{tag}", tag) for k, v in header.items()})

    assert (412, "/problems/precondition-failed") == (answer.status, answer.json()["type"])
    assert before.body == service.request("GET", path).body
    good = service.request(method, path + verb, headers={"If-Match": f'"x", "{tag}"'})
    assert good.status in (200, 202, 204), good.body


def test_of_two_who_change_the_same_state_one_is_refused(service: Service, job: dict[str, Any]) -> None:
    tag = service.request("GET", f"/v1/jobs/{job['id']}").headers["ETag"]
    verbs = [":resume" if n % 2 else ":cancel" for n in range(8)]
    found = in_parallel([
        lambda verb=verb: service.request("POST", f"/v1/jobs/{job['id']}{verb}", headers={"If-Match": tag}).status
        for verb in verbs
    ])  # fmt: skip

    assert 1 == sum(status in (200, 202) for status in found), found
    assert {412} == {status for status in found if status not in (200, 202)}


def in_parallel(calls: list[Callable[[], int]]) -> list[int]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(calls)) as pool:
        return [done.result() for done in [pool.submit(call) for call in calls]]


def test_two_people_do_not_overwrite_each_others_policy(service: Service) -> None:
    path = "/v1/queues/default"
    tag = service.request("GET", path).headers["ETag"]
    first = service.request("PATCH", path, {"concurrency": 5}, headers={"If-Match": tag})
    second = service.request("PATCH", path, {"concurrency": 7}, headers={"If-Match": tag})
    paused = service.request("POST", f"{path}:pause", headers={"If-Match": tag})
    third = service.request("PATCH", path, {"concurrency": None}, headers={"If-Match": first.headers["ETag"]})

    assert [200, 412, 412, 200] == [first.status, second.status, paused.status, third.status]
    assert ({}, False) == (
        {name: value for name, value in third.json()["policy"].items() if name == "concurrency"}, third.json()["paused"],
    )  # fmt: skip


def test_a_change_of_a_policy_does_not_depend_on_the_queues_depth(service: Service) -> None:
    path = "/v1/queues/default"
    before = service.request("GET", path)
    service.request("POST", "/v1/jobs", {"handler": "echo", "suspend": True})
    changed = service.request("GET", path, headers={"If-None-Match": before.headers["ETag"]})
    answer = service.request("PATCH", path, {"concurrency": None}, headers={"If-Match": before.headers["ETag"]})

    assert (200, 200) == (changed.status, answer.status), "the depth is another, the policy is not"
    assert 304 == service.request("GET", path, headers={"If-None-Match": "*"}).status


def test_a_reader_who_has_it_gets_304(service: Service, job: dict[str, Any]) -> None:
    path = f"/v1/jobs/{job['id']}"
    tag = service.request("GET", path).headers["ETag"]
    has = ["*", tag, f"W/{tag}", f'"x", {tag}']
    has_not = ['"x"', tag.strip('"'), '"x-²"', tag[:-1] + '0"']

    assert [304] * 4 == [service.request("GET", path, headers={"If-None-Match": text}).status for text in has]
    assert [304] * 4 == [service.request("HEAD", path, headers={"If-None-Match": text}).status for text in has]
    assert [200] * 4 == [sent(service, "GET", path, {"If-None-Match": text}).status for text in has_not]


# -- parameters ------------------------------------------------------------------------------------------------------


def test_no_route_takes_a_parameter_that_it_does_not_know(service: Service, job: dict[str, Any]) -> None:
    for method, target in [
        *operations(job["id"]),
        ("POST", "/v1/admin:drain"),
        ("POST", "/v1/admin:undrain"),
        ("DELETE", "/v1/admin:drain"),
    ]:
        body = {"handler": "echo"} if method in ("POST", "PATCH") else None
        answer = service.request(method, f"{target}?nonsense=1", body)
        assert (422, "nonsense") == (answer.status, answer.json()["errors"][0]["parameter"]), (method, target)
    assert not service.request("GET", "/v1/status").json()["draining"]


def test_a_limit_beyond_the_largest_is_refused_as_the_document_says(service: Service, job: dict[str, Any]) -> None:
    limited = [
        (path.replace("{id}", job["id"]), one["schema"])
        for path, methods in openapi.document()["paths"].items()
        for one in methods.get("get", {}).get("parameters", ())
        if one["name"] == "limit"
    ]
    assert 7 == len(limited)
    for path, schema in limited:
        taken = service.request("GET", f"{path}?limit={schema['maximum']}").status
        assert (409 if path.endswith("/result") else 200) == taken, path  # the job has not ended
        for wrong in (schema["maximum"] + 1, 0, "1_0", "²"):
            answer = sent(service, "GET", f"{path}?limit={quote(str(wrong))}", {})
            assert (422, "limit") == (answer.status, answer.json()["errors"][0]["parameter"]), (path, wrong)


# -- who is on this machine ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("127.evil.example", False),
        ("127.0.0.1.evil.example", False), ("localhost.evil.example", False), ("::1.evil.example", False), ("0.0.0.0", False),
    ],
)  # fmt: skip
def test_a_host_is_this_machine_by_its_address_and_not_by_how_it_begins(host: str, local: bool) -> None:
    from longshore.settings import Settings

    assert local == Settings(host=host, insecure=True).loopback


def test_a_name_that_begins_like_this_machine_does_not_open_the_service(tmp_path: Path) -> None:
    from longshore import settings
    from longshore.errors import SettingsError

    with pytest.raises(SettingsError, match="can be reached by others"):
        settings.load(environment={"LONGSHORE_HOST": "127.evil.example"})
