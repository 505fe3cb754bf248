"""Webhooks of a real service to a real receiver on loopback."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longshore.engine import courier
from receiver import Receiver
from service import Service

Start = Callable[..., Receiver]


@pytest.fixture
def receive() -> Iterator[Start]:
    started: list[Receiver] = []

    def start(*answers: int, **how: Any) -> Receiver:
        started.append(Receiver(*answers, **how))
        return started[-1]

    yield start
    for receiver in started:
        receiver.close()


KEYS = [bytes(range(24)), bytes(range(100, 132))]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("hooks")
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "one").write_text(f"whsec_{base64.b64encode(KEYS[0]).decode()}\n")
    (secrets / "two").write_text("".join(f"{base64.b64encode(key).decode()}\n" for key in KEYS))
    (secrets / "empty").write_text("\n")
    (secrets / "broken").write_text("not base64!\n")
    service = Service(folder / "data", {"webhook_allow_local": True, "secrets_dir": secrets})
    service.start()
    yield service
    service.end()


def submit(service: Service, url: str, handler: str = "echo", **fields: Any) -> str:
    hook = {"url": url, **fields.pop("hook", {})}
    answer = service.request("POST", "/v1/jobs", {"handler": handler, "webhook": hook, **fields})
    assert answer.status == 202, answer.body
    return str(answer.json()["id"])


def delivered(service: Service) -> dict[str, float]:
    """How many deliveries ended how, so far."""
    lines = service.request("GET", "/metrics").body.decode().splitlines()
    found = (line.split() for line in lines if line.startswith("longshore_webhook_deliveries_total{"))
    return {name.split('"')[1]: float(value) for name, value in found}


def pending(service: Service) -> int:
    return int(service.request("GET", "/v1/status").json()["webhooks"]["pending"])


def given_up(service: Service, id: str, eventually: Callable[..., Any]) -> str:
    """Why the delivery about the job was given up, from the service's log."""
    uid = service.client().get(id)["uid"]

    def look() -> str:
        lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
        return next((one["detail"] for one in lines if one.get("delivery", "").startswith(f"msg_{uid}")), "")

    return str(eventually(look, what="the end of the delivery"))


def signature(key: bytes, headers: dict[str, str], body: bytes) -> str:
    """Standard Webhooks 1.0, symmetric: HMAC-SHA256 over ``id.timestamp.payload``, base64, behind ``v1,``."""
    content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_the_end_of_a_job_is_reported_and_signed(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive()
    id = submit(service, f"{receiver.url}/hook?for=me", hook={"secretRef": "one"}, args={"x": "ü"}, labels={"a": "b"})
    eventually(lambda: receiver.got)
    headers, body, path = receiver.got[0]
    said = json.loads(body)
    job = service.client().get(id)

    assert ("/hook?for=me", "application/json", "job.succeeded") == (path, headers["content-type"], said["type"])
    assert {
        "id": id, "uid": job["uid"], "labels": {"a": "b"}, "phase": "Succeeded", "reason": "", "message": "",
        "attempts": 1, "finishedAt": job["status"]["finishedAt"], "result": {"x": "ü"},
    } == said["data"]  # fmt: skip
    assert signature(KEYS[0], headers, body) == headers["webhook-signature"]
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
    assert not set(headers["webhook-id"]) - set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_two_secrets_are_two_signatures_and_none_is_none(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive()
    submit(service, receiver.url, hook={"secretRef": "two"})
    eventually(lambda: receiver.got)
    submit(service, receiver.url)
    eventually(lambda: len(receiver.got) == 2)
    (signed, body, _), (unsigned, _, _) = receiver.got

    assert [signature(key, signed, body) for key in KEYS] == signed["webhook-signature"].split(" ")
    assert "webhook-signature" not in unsigned


@pytest.mark.parametrize(("handler", "kind"), [("echo", "job.succeeded"), ("raises", "job.failed")])
def test_only_the_ends_that_were_asked_for_are_reported(
    service: Service, receive: Start, eventually: Callable[..., Any], handler: str, kind: str
) -> None:
    receiver = receive()
    submit(service, f"{receiver.url}/other", handler, hook={"on": ["Cancelled"]})
    submit(service, f"{receiver.url}/this", handler, hook={"on": ["Succeeded", "Failed"]})
    submit(service, f"{receiver.url}/all", handler)
    eventually(lambda: len(receiver.got) == 2 and pending(service) == 0)

    assert {"/this", "/all"} == {path for _, _, path in receiver.got}
    assert {kind} == {body["type"] for body in receiver.bodies()}


def test_a_cancelled_job_is_reported(service: Service, receive: Start, eventually: Callable[..., Any]) -> None:
    receiver = receive()
    id = submit(service, receiver.url, suspend=True)
    service.client().cancel(id)
    eventually(lambda: receiver.got)

    assert ("job.cancelled", "Cancelled") == (receiver.bodies()[0]["type"], receiver.bodies()[0]["data"]["reason"])


def test_a_redriven_job_is_reported_again_under_another_id(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive()
    id = submit(service, receiver.url, "raises")
    eventually(lambda: receiver.got)
    service.client().redrive(id)
    eventually(lambda: len(receiver.got) == 2)

    assert 2 == len({headers["webhook-id"] for headers, _, _ in receiver.got})


@pytest.mark.parametrize(("size", "omitted"), [(15_000, False), (25_000, True)])
def test_a_large_result_is_left_out(
    service: Service, receive: Start, eventually: Callable[..., Any], size: int, omitted: bool
) -> None:
    receiver = receive()
    submit(service, receiver.url, "huge_result", args={"size": size})
    eventually(lambda: receiver.got)
    data = receiver.bodies()[0]["data"]

    assert (omitted, None if omitted else "x" * size) == (data.get("resultOmitted", False), data["result"])
    assert len(receiver.got[0][1]) <= 20_000


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_a_failure_is_tried_again_under_the_same_id(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive(500, 204)
    submit(service, receiver.url, hook={"secretRef": "one"})
    eventually(lambda: len(receiver.got) == 2, seconds=20)
    (first, body, _), (second, again, _) = receiver.got

    assert (first["webhook-id"], body) == (second["webhook-id"], again)
    assert 4 <= int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) <= 15
    assert signature(KEYS[0], second, again) == second["webhook-signature"]
    eventually(lambda: pending(service) == 0)


def condition(service: Service, id: str) -> dict[str, str]:
    """What the job says of its delivery; empty while nothing was tried."""
    found = service.client().get(id)["status"].get("conditions", ())
    return next((one for one in found if one["type"] == "WebhookDelivered"), {})


def test_the_first_failure_is_told_in_the_log_and_the_last_one_in_the_job(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive(500, 204)
    id = submit(service, receiver.url)
    eventually(lambda: condition(service, id))
    told, uid = condition(service, id), service.client().get(id)["uid"]
    tag = service.request("GET", f"/v1/jobs/{id}").headers["ETag"]
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if f"msg_{uid}" in line]

    assert ("False", "Retrying", "HTTP 500") == (told["status"], told["reason"], told["message"])
    assert [("webhook_failed", "warning", "HTTP 500")] == [
        (one["action"], one["level"], one["detail"]) for one in lines
    ]
    assert lines[0]["next_try"] > told["lastTransitionTime"]
    assert 304 == service.request("GET", f"/v1/jobs/{id}", headers={"If-None-Match": tag}).status

    eventually(lambda: condition(service, id)["reason"] == "Delivered")
    again = service.request("GET", f"/v1/jobs/{id}", headers={"If-None-Match": tag})
    assert (200, "True") == (again.status, condition(service, id)["status"])
    listed = next(job for job in service.client().list() if job["id"] == id)
    assert again.json()["status"] == listed["status"], "a list tells the same"


def test_a_redrive_forgets_what_was_told_of_the_end_before(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive(410, 204)
    id = submit(service, receiver.url, "raises")
    eventually(lambda: condition(service, id).get("reason") == "Refused")
    service.client().redrive(id)
    assert "Refused" != condition(service, id).get("reason")
    eventually(lambda: condition(service, id).get("reason") == "Delivered")


def listed(service: Service) -> dict[str, dict[str, Any]]:
    """Deliveries that wait or were given up, by job."""
    return {one["job"]: one for one in service.client().deliveries()}


def test_what_waits_is_listed_and_tried_again_when_somebody_asks(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive(500, 500, 204)
    id = submit(service, receiver.url)
    eventually(lambda: len(receiver.got) == 2 and condition(service, id))
    found = eventually(lambda: (one := listed(service)[id])["attempts"] == 2 and one)
    assert ("Retrying", "HTTP 500", receiver.url) == (found["state"], found["lastError"], found["url"])
    assert found["nextAt"] > condition(service, id)["lastTransitionTime"]

    assert 1 == service.client().retry_deliveries([id]), "and not after five minutes"
    eventually(lambda: condition(service, id)["reason"] == "Delivered")
    assert id not in listed(service)
    assert 1 == len({headers["webhook-id"] for headers, _, _ in receiver.got})


def test_what_was_given_up_is_listed_and_tried_again_when_somebody_asks(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive(410, 204)
    id = submit(service, receiver.url)
    eventually(lambda: condition(service, id))
    assert ("Refused", "HTTP 410", False) == (
        listed(service)[id]["state"], listed(service)[id]["lastError"], "nextAt" in listed(service)[id]
    )  # fmt: skip

    assert 1 <= service.client().retry_deliveries()
    eventually(lambda: condition(service, id)["reason"] == "Delivered")
    first, second = (body for _, body, _ in receiver.got)
    assert (first, {}) == (second, {name: one for name, one in listed(service).items() if name == id})


def test_a_retry_of_nothing_is_refused_and_nothing_of_it_done(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive(410)
    refused, told = submit(service, receiver.url), str(service.client().submit({"handler": "echo"}, wait=10)["id"])
    eventually(lambda: condition(service, refused))

    for body, status in (
        ({"jobs": [refused, told]}, 404), ({"jobs": ["never-was"]}, 404), ({}, 422), ({"all": False}, 422),
        ({"jobs": []}, 422), ({"jobs": [refused], "all": True}, 422), ({"jobs": [1]}, 422), ({"job": refused}, 422),
    ):  # fmt: skip
        assert status == service.request("POST", "/v1/webhooks:retry", body).status, body
    assert ("Refused", 1) == (listed(service)[refused]["state"], len(receiver.got))


def test_what_was_given_up_goes_with_its_job(service: Service, receive: Start, eventually: Callable[..., Any]) -> None:
    id = submit(service, receive(410).url)
    eventually(lambda: condition(service, id))
    service.client().delete(id)

    assert id not in listed(service)


def test_gone_ends_it_at_once(service: Service, receive: Start, eventually: Callable[..., Any]) -> None:
    receiver = receive(410)
    id = submit(service, receiver.url)

    assert "HTTP 410" == given_up(service, id, eventually)
    assert (0, 1) == (pending(service), len(receiver.got))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_not_followed(
    service: Service, receive: Start, eventually: Callable[..., Any], status: int
) -> None:
    receiver = receive(status, 204)
    before = delivered(service)
    submit(service, f"{receiver.url}/here")
    eventually(lambda: receiver.got)  # other deliveries fail meanwhile, when they are tried again
    eventually(lambda: delivered(service)["failed"] > before["failed"])

    assert ["/here"] == [path for _, _, path in receiver.got]


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("missing", "secret missing cannot be read"),
        ("broken", "secret broken, line 1: is no base64"),
        ("empty", "secret empty has no key"),
    ],
)
def test_a_secret_that_cannot_sign_sends_nothing(
    service: Service, receive: Start, eventually: Callable[..., Any], secret: str, says: str
) -> None:
    receiver = receive()
    id = submit(service, receiver.url, hook={"secretRef": secret})

    assert says in given_up(service, id, eventually)
    assert [] == receiver.got
    assert "Succeeded" == service.client().get(id)["status"]["phase"]


@pytest.mark.parametrize("name", ["../one", "/etc/passwd", "..", "."])
def test_a_secret_is_a_name_and_no_path(service: Service, name: str) -> None:
    job = {"handler": "echo", "webhook": {"url": "http://127.0.0.1/", "secretRef": name}}
    refused = service.request("POST", "/v1/jobs", job)

    assert (422, "/webhook/secretRef") == (refused.status, refused.json()["errors"][0]["pointer"])


def test_https_with_a_certificate_that_nobody_vouches_for_gets_nothing(
    service: Service, receive: Start, eventually: Callable[..., Any], program: Callable[[str], None], tmp_path: Path
) -> None:
    program("openssl")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key",
         "-out", tmp_path / "cert"], check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    receiver = receive(tls=tls)
    before = delivered(service)
    submit(service, receiver.url)
    eventually(lambda: delivered(service)["failed"] > before["failed"])

    assert [] == receiver.got
    assert 1 <= pending(service), "a certificate may be put right: it is tried again"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.9.9.9", "0.0.0.0", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]"]
)  # fmt: skip
def test_this_machine_is_refused_unless_it_is_allowed(
    start_service: Callable[..., Service], receive: Start, eventually: Callable[..., Any], host: str
) -> None:
    receiver = receive()
    service = start_service()
    id = submit(service, receiver.url.replace("127.0.0.1", host))

    assert "address that only this machine" in given_up(service, id, eventually)
    assert ([], 0) == (receiver.got, pending(service))


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://[x]/", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "https://?", "http://2130706433/",
            "http://[]@/", "http://user:word@example.com/"]
)  # fmt: skip
def test_an_address_that_leads_nowhere_is_refused_at_submit(service: Service, url: str) -> None:
    answer = service.request("POST", "/v1/jobs", {"handler": "echo", "webhook": {"url": url}})

    assert (422, b"/webhook/url", False) == (
        answer.status,
        b"/webhook/url" if b"/webhook/url" in answer.body else b"",
        b":word@" in answer.body,
    )


@pytest.mark.parametrize("url", ["http://[]@/", "http://[x]/", "http:/", "", "http://h\u00a0/", "https://user:word@h/"])
def test_a_stored_url_that_cannot_work_is_refused_by_its_sender(url: str) -> None:
    """A former release took it: the delivery ends, the sender does not."""
    given = {"id": "m", "url": url, "secret_ref": "", "body": "{}"}
    answer = courier.deliver(given, secrets_dir="", allow_local=True)

    assert ("m", "refused") == (answer["id"], answer["result"])


# -- what it may not hold up -------------------------------------------------------------------------------------------


def test_a_receiver_that_hangs_holds_up_no_job_and_no_other_delivery(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    """More deliveries than there are senders, each as slow as the time-out allows."""
    slow, good = receive(hangs=True), receive()
    jobs = [{"handler": "echo", "webhook": {"url": slow.url}} for _ in range(200)]
    service.client().submit_many(jobs)
    eventually(lambda: slow.got)
    begun = time.monotonic()
    id = submit(service, good.url)
    assert "Succeeded" == service.client().wait(id, 10)["status"]["phase"]
    eventually(lambda: good.got, seconds=10, what="the other delivery")
    assert time.monotonic() - begun < 15, "less than the time-out of a hanging one"

    slow.hangs = False
    slow.go.set()
    eventually(lambda: len(slow.got) >= 200, seconds=60, what="the rest")
    assert 200 == len({headers["webhook-id"] for headers, _, _ in slow.got})


def test_a_delivery_survives_the_engine(
    start_service: Callable[..., Service], receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive(hangs=True)
    service = start_service(webhook_allow_local=True)
    id = submit(service, receiver.url, ttlSecondsAfterFinished=0)
    eventually(lambda: receiver.got)
    service.kill()
    receiver.hangs = False
    receiver.go.set()
    service.start()
    eventually(lambda: len(receiver.got) == 2 and pending(service) == 0)

    assert 1 == len({headers["webhook-id"] for headers, _, _ in receiver.got})
    assert 410 == service.request("GET", f"/v1/jobs/{id}").status, "the job need not be kept for it"


def test_a_killed_courier_is_replaced_and_what_it_had_is_sent(
    service: Service, receive: Start, eventually: Callable[..., Any]
) -> None:
    receiver = receive(hangs=True)
    submit(service, receiver.url)
    eventually(lambda: receiver.got)
    for pid in service.child("longshore.engine.courier"):
        os.kill(pid, 9)
    receiver.hangs = False
    receiver.go.set()
    eventually(lambda: len(receiver.got) == 2, what="the second delivery")

    assert 1 == len({headers["webhook-id"] for headers, _, _ in receiver.got})


@pytest.mark.parametrize(
    ("scheme", "begins", "status"),
    [
        ("http", b"HTTP/1.1 2", None),
        ("http", b"HTTP/1.1 200 OK\r\nx: ", 200),  # what it said first is enough
        ("https", b"\x16\x03\x03\x40\x00", None),
    ],
)
def test_a_receiver_that_answers_byte_by_byte_is_left_in_time(scheme: str, begins: bytes, status: int | None) -> None:
    """Each byte started the time-out anew, and a sender was lost for hours."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(OSError):
            sock.sendall(begins)
            while not stop.wait(0.05):
                sock.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"
        try:
            # The answer has to come in time on a machine that is slow, too.
            found: int | None = courier.post(url, b"{}", {}, allow_local=True, timeout=4.0 if status else 0.5)[0]
        except (OSError, http.client.HTTPException):
            found = None
        finally:
            stop.set()
            thread.join()

    assert status == found
