"""The real command line against a real service: what it prints, where, and with which exit code."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import CANCELLED, FAILED, NOT_FOUND, OK, REFUSED, TIMED_OUT, UNREACHABLE, USAGE, Cli
from longshore.cli.root import COMMANDS
from longshore.version import __version__
from service import Service, free_port

ROOT = Path(__file__).parents[2]


def cancelled_soon(longshore: Cli, *words: str) -> str:
    """A job that was cancelled before it ran."""
    id = longshore.id(*words, "--delay", "3600")
    longshore.ok("cancel", id)
    return id


# -- submit ------------------------------------------------------------------------------------------------------------


def test_arguments_are_json_or_text(longshore: Cli) -> None:
    words = (
        "n=1",
        "half=0.5",
        "yes=true",
        "none=null",
        'list=[1,{"a":2}]',
        "text=hello there",
        'quoted="7"',
        "empty=",
        "eq=a=b",
        "nan=NaN",
    )
    job = json.loads(longshore.ok("submit", "echo", *words, "--wait", "-o", "json"))

    expected = {"n": 1, "half": 0.5, "yes": True, "none": None, "list": [1, {"a": 2}], "text": "hello there",
                "quoted": "7", "empty": "", "eq": "a=b", "nan": "NaN"}  # fmt: skip
    assert expected == job["spec"]["args"] == job["status"]["result"]


def test_arguments_in_one_object_and_words_that_override_it(longshore: Cli) -> None:
    job = json.loads(longshore.ok("submit", "echo", "b=3", "--args", '{"a": 1, "b": 2}', "-o", "json"))

    assert {"a": 1, "b": 3} == job["spec"]["args"]


def test_every_field_has_its_option(longshore: Cli) -> None:
    job = json.loads(longshore.ok(
        "submit", "echo", "--name", "with-options", "--queue", "default", "--priority", "7", "--label", "a=b",
        "--label", "c=d", "--delay", "3600", "--timeout", "30", "--retries", "2", "-o", "json",
    ))  # fmt: skip
    spec = job["spec"]

    assert "with-options" == job["id"]
    assert (7, 30, 2) == (spec["priority"], spec["timeoutSeconds"], spec["maxRetries"])
    assert {"a": "b", "c": "d"} == job.get("labels", spec.get("labels"))
    assert "startAfter" in spec
    longshore.ok("cancel", "with-options")


def test_a_command_stands_behind_two_dashes(longshore: Cli) -> None:
    done = longshore("submit", "--wait", "-o", "json", "--", "sh", "-c", "echo hello; echo $0", "--wait")
    job = done.json()

    assert (OK, ["sh", "-c", "echo hello; echo $0", "--wait"]) == (done.code, job["spec"]["command"])
    assert "hello\n--wait\n" == longshore.ok("logs", job["id"])


def test_a_job_after_another(longshore: Cli) -> None:
    first = longshore.id("echo")

    assert OK == longshore("submit", "echo", "--after", first, "--wait").code


def test_the_same_idempotency_key_is_the_same_job(longshore: Cli) -> None:
    ids = {longshore.id("echo", "x=1", "--idempotency-key", "cli-key") for _ in range(2)}

    assert 1 == len(ids)
    assert REFUSED == longshore("submit", "echo", "x=2", "--idempotency-key", "cli-key").code


MANIFEST = """\
apiVersion: longshore.dev/v1alpha1
kind: Job
metadata: {name: %s}
spec:
  handler: echo
  args: {from: yaml, when: 2026-01-02}
"""


def test_a_manifest_comes_from_a_file(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(MANIFEST % "cli-one")
    done = longshore("submit", "-f", "job.yaml", "--wait", "-o", "json")

    assert (OK, "cli-one", {"from": "yaml", "when": "2026-01-02"}) == (
        done.code, done.json()["id"], done.json()["status"]["result"])  # fmt: skip


def test_what_kubectl_would_read_otherwise_is_warned_of(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("handler: echo\nargs: {y: 1, x: null}\n")
    done = longshore("submit", "-f", "job.yaml")

    assert 'warning: job.yaml, line 2: kubectl reads the key y as "true"' in done.err
    assert "line 2: client-side `kubectl apply` loses x" in done.err
    assert OK == done.code


def test_a_manifest_of_many_documents_comes_from_standard_input(longshore: Cli) -> None:
    text = "---\n".join(MANIFEST % name for name in ("cli-two", "cli-three")) + "---\n"
    done = longshore("submit", "-f", "-", "--wait", "-o", "json", stdin=text)

    assert ["cli-two", "cli-three"] == [job["id"] for job in done.json()]
    assert ["Succeeded"] * 2 == [job["status"]["phase"] for job in done.json()]


def test_plain_fields_are_a_manifest_too(longshore: Cli) -> None:
    done = longshore("submit", "-f", "-", "--wait", "-o", "json", stdin='{"handler": "echo", "args": {"x": 1}}')

    assert (OK, {"x": 1}) == (done.code, done.json()["status"]["result"])


@pytest.mark.parametrize(
    ("case", "text", "code", "said"),
    [
        ("nothing", "", USAGE, "holds no job"),
        ("no YAML", "a: [", FAILED, "is no YAML"),
        ("not a number", "handler: echo\nargs: {x: .nan}", FAILED, "JSON"),
        ("a list", "- handler: echo", REFUSED, ""),
        ("an unknown field", "handler: echo\ncolour: red", REFUSED, "/colour"),
    ],
)
def test_a_bad_manifest_is_refused_in_a_sentence(longshore: Cli, case: str, text: str, code: int, said: str) -> None:
    done = longshore("submit", "-f", "-", stdin=text)

    assert (code, "") == (done.code, done.out), case
    assert said in done.err


def test_a_file_that_is_not_there_is_a_wrong_command_line(longshore: Cli) -> None:
    assert USAGE == longshore("submit", "-f", "nowhere.yaml").code
    assert USAGE == longshore("submit", "--batch", "nowhere.jsonl").code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a handler"),
        (("echo", "word"), "KEY=VALUE"),
        (("echo", "--args", "{"), "--args is no JSON"),
        (("echo", "--args", "[1]"), "one JSON object"),
        (("echo", "--priority", "high"), "--priority"),
        (("echo", "--delay", "nan"), "--delay"),
        (("echo", "--delay", "1e300"), "--delay"),
        (("echo", "--colour", "red"), "--colour"),
    ],
)
def test_a_wrong_submit_says_what_is_wrong(longshore: Cli, words: tuple[str, ...], said: str) -> None:
    done = longshore("submit", *words)

    assert (USAGE, "") == (done.code, done.out)
    assert said in done.err


# -- exit codes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["submit", "wait"])
def test_the_exit_code_is_the_fate_of_the_job(longshore: Cli, command: str) -> None:
    def fate(*words: str) -> int:
        if command == "submit":
            return longshore("submit", *words, "--wait").code
        return longshore("wait", longshore.id(*words)).code

    assert (OK, FAILED) == (fate("echo"), fate("raises"))


def test_a_cancelled_job_is_3(longshore: Cli) -> None:
    assert CANCELLED == longshore("wait", cancelled_soon(longshore, "echo")).code


def test_waiting_long_enough_is_4_and_the_job_goes_on(longshore: Cli) -> None:
    submitted = longshore("submit", "echo", "--name", "cli-late", "--delay", "3600", "--wait", "--wait-timeout", "0.2")
    waited = longshore("wait", "cli-late", "--timeout", "0.2")

    assert (TIMED_OUT, TIMED_OUT) == (submitted.code, waited.code)
    assert "longshore: job cli-late is still Pending" in waited.err
    assert "cli-late: Cancelled\n" == longshore.ok("cancel", "cli-late")


def test_a_job_that_is_not_there_is_5(longshore: Cli) -> None:
    for command in ("get", "wait", "logs", "events", "explain", "cancel", "redrive", "suspend", "resume", "delete"):
        done = longshore(command, "never-was")
        assert (command, NOT_FOUND, "") == (command, done.code, done.out)
        assert "longshore: there is no job never-was (`longshore list` shows what there is)\n" == done.err


def test_a_refused_job_is_6_and_names_the_field(longshore: Cli) -> None:
    done = longshore("submit", "primes", "limit=many")

    assert (REFUSED, "") == (done.code, done.out)
    assert "/args/limit" in done.err


def test_nobody_at_the_address_is_7(longshore: Cli) -> None:
    done = longshore("status", LONGSHORE_URL=f"http://127.0.0.1:{free_port()}")

    assert (UNREACHABLE, "") == (done.code, done.out)
    assert re.fullmatch(r"longshore: nobody answers at http://127\.0\.0\.1:\d+: .*\n", done.err)


@pytest.mark.parametrize(
    "words", [("nonsense",), ("get",), ("list", "--limit", "0"), ("--nonsense",), ("get", "a", "-o", "xml")]
)
def test_a_wrong_command_line_is_2(longshore: Cli, words: tuple[str, ...]) -> None:
    done = longshore(*words)

    assert (USAGE, "") == (done.code, done.out)
    assert "Error: " in done.err


@pytest.mark.parametrize("url", ["nowhere", "ftp://here", "http://here:port", "http://[::1", "http://"])
def test_an_address_that_is_none_is_said(longshore: Cli, url: str) -> None:
    done = longshore("--url", url, "status")

    assert (FAILED, "") == (done.code, done.out)
    assert "is no http or https address" in done.err


def test_a_token_that_no_header_can_carry_is_said(longshore: Cli) -> None:
    done = longshore("status", LONGSHORE_TOKEN="one\ntwo")

    assert (FAILED, 1) == (done.code, done.err.count("\n"))


def test_an_address_of_something_else_is_said(longshore: Cli, shared_service: Service) -> None:
    done = longshore("--url", f"{shared_service.url}/elsewhere", "status")

    assert (NOT_FOUND, "") == (done.code, done.out)


# -- batches -----------------------------------------------------------------------------------------------------------


def test_a_batch_of_two_hundred_is_awaited(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(
        "".join(f'{{"handler": "echo", "args": {{"n": {n}}}}}\n\n' for n in range(200))
    )
    done = longshore("submit", "--batch", "items.jsonl", "--wait", "--idempotency-key", "cli-batch")
    again = longshore("submit", "--batch", "items.jsonl", "--wait", "--idempotency-key", "cli-batch")

    assert (OK, "batch cli-batch: 200 Succeeded\n") == (done.code, done.out)
    assert done == again, "the same key runs nothing again"


def test_a_batch_is_sent_without_waiting(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"handler": "echo"}\n' * 3)

    assert re.fullmatch(r"batch [0-9a-f]+: 3 submitted\n", longshore.ok("submit", "--batch", "items.jsonl"))


def test_a_batch_with_a_failure_is_1(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"handler": "echo"}\n{"handler": "raises"}\n')
    done = longshore("submit", "--batch", "items.jsonl", "--wait")

    assert FAILED == done.code
    assert "1 Succeeded, 1 Failed" in done.out


@pytest.mark.parametrize(
    ("bad", "code", "said"),
    [
        ("{", FAILED, "line 3 is no JSON"),
        ("[]", FAILED, "line 3 should be a JSON object"),
        ('{"handler": "echo", "args": {"x": NaN}}', FAILED, "line 3 is no JSON"),
        ('{"handler": "echo", "priority": "high"}', REFUSED, "line 3, /priority"),
        ('{"handler": "nobody"}', REFUSED, "line 3, /handler"),
    ],
)
def test_a_bad_line_of_a_batch_is_named_and_nothing_is_sent(
    longshore: Cli, tmp_path: Path, bad: str, code: int, said: str
) -> None:
    (tmp_path / "items.jsonl").write_text(f'{{"handler": "echo", "labels": {{"set": "cli-bad"}}}}\n\n{bad}\n')
    done = longshore("submit", "--batch", "items.jsonl", "--wait")

    assert (code, "") == (done.code, done.out)
    assert said in done.err
    assert "[]\n" == longshore.ok("list", "--label", "set=cli-bad", "-o", "json")


def test_waiting_for_a_batch_ends_in_time(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"handler": "echo", "name": "cli-batch-late", "suspend": true}\n')
    done = longshore("submit", "--batch", "items.jsonl", "--wait", "--wait-timeout", "0.3")

    assert TIMED_OUT == done.code
    longshore.ok("cancel", "cli-batch-late")


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_job_is_shown_in_every_form(longshore: Cli) -> None:
    id = longshore.id("echo", "x=1", "--wait")
    as_json, as_yaml = (
        json.loads(longshore.ok("get", id, "-o", "json")),
        yaml.safe_load(longshore.ok("get", id, "-o", "yaml")),
    )
    narrow, wide = longshore.ok("get", id).splitlines(), longshore.ok("get", id, "-o", "wide").splitlines()

    assert id == as_json["id"] == as_yaml["id"]
    assert ["NAME", "PHASE", "QUEUE", "HANDLER", "ATTEMPTS", "AGE"] == narrow[0].split()
    assert [id, "Succeeded", "default", "echo", "1"] == narrow[1].split()[:5]
    assert ["REASON", "DURATION", "WORKER"] == wide[0].split()[6:]


def test_jobs_are_listed_and_filtered(longshore: Cli) -> None:
    ids = [longshore.id("echo", "--label", "set=cli-list", "--wait") for _ in range(3)]

    def listed(*words: str) -> list[str]:
        return [job["id"] for job in json.loads(longshore.ok("list", "--label", "set=cli-list", "-o", "json", *words))]

    assert ids[::-1] == listed()
    assert ids[:0:-1] == listed("--limit", "2")
    assert ids[::-1] == listed("--phase", "Succeeded", "--phase", "Failed", "--handler", "echo", "--queue", "default")
    assert [] == listed("--phase", "Failed")
    assert 4 == len(longshore.ok("list", "--label", "set=cli-list").splitlines())
    assert 3 == len(yaml.safe_load(longshore.ok("list", "--label", "set=cli-list", "-o", "yaml")))
    assert REFUSED == longshore("list", "--phase", "Gone").code


def test_many_jobs_are_awaited_at_once(longshore: Cli) -> None:
    ids = [longshore.id("echo") for _ in range(2)]

    assert ids == [job["id"] for job in json.loads(longshore.ok("wait", *ids, "-o", "json"))]


def test_logs_are_printed_and_followed(longshore: Cli) -> None:
    id = longshore.id("--", "sh", "-c", "echo one; sleep 0.3; echo two; echo three >&2")
    followed = longshore.ok("logs", "-f", id)

    assert "one\ntwo\nthree\n" == followed == longshore.ok("logs", id) == longshore.ok("logs", id, "--attempt", "1")


def test_events_of_a_job_end_with_it(longshore: Cli) -> None:
    id = longshore.id("echo", "--wait")
    events = [json.loads(line) for line in longshore.ok("events", id).splitlines()]

    assert ["submitted", "started", "succeeded"] == [event["type"] for event in events]


def test_an_explanation_is_a_sentence(longshore: Cli) -> None:
    id = longshore.id("echo", "--delay", "3600")
    text = longshore.ok("explain", id)

    assert text.startswith(f"{id} is Pending: ")
    assert " Until 2" in text
    assert "Pending" == json.loads(longshore.ok("explain", id, "-o", "json"))["phase"]
    longshore.ok("cancel", id)


# -- verbs -------------------------------------------------------------------------------------------------------------


def test_a_job_is_suspended_resumed_and_deleted(longshore: Cli) -> None:
    id = longshore.id("echo", "--delay", "4")  # time enough for the commands that follow, on a busy machine

    assert f"{id}: suspended\n" == longshore.ok("suspend", id)
    assert "Suspended" == json.loads(longshore.ok("explain", id, "-o", "json"))["reason"]
    assert REFUSED == longshore("delete", id).code
    longshore.ok("resume", id)
    assert OK == longshore("wait", id).code
    assert f"{id}: deleted\n" == longshore.ok("delete", id)
    assert NOT_FOUND == longshore("get", id).code


def test_a_running_job_is_cancelled(longshore: Cli, eventually: Callable[..., Any]) -> None:
    id = longshore.id("naps")
    eventually(lambda: json.loads(longshore.ok("get", id, "-o", "json"))["status"]["phase"] == "Running")

    told = longshore.ok("cancel", id, "--grace", "0")
    assert told in (f"{id}: Cancelled\n", f"{id}: asked to end; `longshore wait {id}` waits until nothing of it runs\n")
    assert CANCELLED == longshore("wait", id, "--timeout", "20").code
    assert REFUSED == longshore("cancel", id).code


def test_failed_jobs_are_redriven_together(longshore: Cli) -> None:
    ids = [longshore.id("raises") for _ in range(2)]
    assert FAILED == longshore("wait", *ids).code

    assert 2 == longshore.ok("redrive", *ids).count("\n")
    assert [2, 2] == [job["status"]["attempts"] for job in longshore("wait", *ids, "-o", "json").json()]


# -- the service -------------------------------------------------------------------------------------------------------


def test_queues_are_shown_paused_and_changed(start_service: Callable[..., Service], tmp_path: Path) -> None:
    longshore = Cli(start_service().url, tmp_path)

    def queue() -> Any:
        return json.loads(longshore.ok("queues", "-o", "json"))[0]

    assert ["NAME", "WAITING", "READY", "RUNNING", "PAUSED", "OLDEST"] == longshore.ok("queues").splitlines()[0].split()
    longshore.ok("queues", "pause", "default")
    assert queue()["paused"] is True
    longshore.ok("queues", "resume", "default")
    assert queue()["paused"] is False
    assert 3 == json.loads(longshore.ok("queues", "set", "default", "concurrency=3"))["concurrency"]
    assert 3 == queue()["policy"]["concurrency"]
    longshore.ok("queues", "set", "default", "concurrency=null")
    assert 3 != queue()["policy"].get("concurrency")
    refused = longshore("queues", "set", "default", "concurrency=0")
    assert (REFUSED, True) == (refused.code, "/concurrency" in refused.err)
    assert USAGE == longshore("queues", "set", "default", "concurrency").code
    assert USAGE == longshore("queues", "set", "default", "concurrency=many").code
    assert NOT_FOUND == longshore("queues", "pause", "nowhere").code


def test_a_drained_service_takes_nothing_until_it_is_undrained(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    longshore = Cli(start_service().url, tmp_path)

    assert "draining\n" == longshore.ok("drain")
    assert UNREACHABLE == longshore("submit", "echo").code
    assert ": draining\n" in longshore.ok("status")
    assert "ready\n" == longshore.ok("undrain")
    assert OK == longshore("submit", "echo", "--wait").code


def test_handlers_workers_and_status_are_shown(longshore: Cli) -> None:
    handlers = {found["name"]: found for found in json.loads(longshore.ok("handlers", "-o", "json"))}
    (worker,) = json.loads(longshore.ok("workers", "-o", "json"))
    status = json.loads(longshore.ok("status", "-o", "json"))

    assert "limit" in handlers["primes"]["args"]["properties"]
    assert re.search(r"^primes +\S+ +.*limit", longshore.ok("handlers"), re.M)
    assert 2 == worker["slots"] == status["slots"]["total"]
    assert worker["name"] in longshore.ok("workers")
    assert longshore.ok("status").startswith(f"Longshore {__version__} on {worker['name']}: ready\nslots: ")


# -- without a service -------------------------------------------------------------------------------------------------


def test_the_configuration_tells_where_each_value_comes_from(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("slots = 3\n")
    whole = json.loads(longshore.ok("config", "--config", "own.toml", "-o", "json", LONGSHORE_PORT="9999"))
    lines = longshore.ok("config", LONGSHORE_PORT="9999").splitlines()
    bad = longshore("config", LONGSHORE_PORT="many")

    assert 9999 == whole["port"]["value"]
    assert "LONGSHORE_PORT" in whole["port"]["source"]
    assert 3 == whole["slots"]["value"]
    assert "own.toml" in whole["slots"]["source"]
    assert "default" == whole["host"]["source"]
    assert ["SETTING", "VALUE", "SOURCE"] == lines[0].split()
    assert "MEANING" in longshore.ok("config", "-o", "wide").splitlines()[0]
    assert (FAILED, True) == (bad.code, "LONGSHORE_PORT" in bad.err)


def test_the_configuration_shows_settings_of_applications_without_their_secrets(longshore: Cli, tmp_path: Path) -> None:
    fields = "    key: SecretStr\n    size: int = 1\n"
    (tmp_path / "own_app.py").write_text(
        "from pydantic import BaseModel, SecretStr\nfrom longshore import app_settings\n"
        f"class Own(BaseModel):\n{fields}app_settings('own', Own)\n"
    )
    (tmp_path / "own.toml").write_text("slots = 3\n[app.own]\nkey = 'hush'\n")
    mine = {"PYTHONPATH": str(tmp_path), "LONGSHORE_APPS": "own_app"}
    whole = json.loads(longshore.ok("config", "--config", "own.toml", "-o", "json", LONGSHORE_APP_OWN_SIZE="2", **mine))
    lines = longshore.ok("config", "--config", "own.toml", **mine)
    bad = longshore("config", LONGSHORE_APP_OWN_SIZE="2", **mine)

    assert {"value": 2, "source": "LONGSHORE_APP_OWN_SIZE"} == whole["app.own.size"]
    assert "**********" == whole["app.own.key"]["value"]
    assert whole["app.own.key"]["source"].endswith("own.toml:3")
    assert "app.own.size" in lines
    assert "hush" not in lines
    assert (FAILED, True, True) == (bad.code, "SETTING" in bad.out, "setting key: it has to be set" in bad.err)


def test_tokens_are_made_listed_used_and_revoked(
    start_service: Callable[..., Service], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    file = tmp_path / "tokens"
    longshore = Cli("http://127.0.0.1:1", tmp_path)
    admin = longshore.ok("token", "new", "boss", "--role", "admin", "--file", str(file)).strip()
    reader = longshore.ok("token", "new", "eyes", "--role", "read", LONGSHORE_TOKENS_FILE=str(file)).strip()

    assert 0o600 == file.stat().st_mode & 0o777
    assert admin.startswith("lsh_")
    assert admin not in file.read_text(), "only its hash is kept"
    listed = longshore.ok("token", "list", "--file", str(file))
    assert [["boss", "admin"], ["eyes", "read"]] == [line.split()[:2] for line in listed.splitlines()[1:]]
    assert admin not in listed
    assert FAILED == longshore("token", "new", "boss", "--file", str(file)).code
    assert USAGE == longshore("token", "new", "two words", "--file", str(file)).code

    service = Cli(start_service(tokens_file=file).url, tmp_path)
    assert [OK, REFUSED, REFUSED, OK] == [
        service("list", LONGSHORE_TOKEN=reader).code, service("submit", "echo", LONGSHORE_TOKEN=reader).code,
        service("list").code, service("submit", "echo", LONGSHORE_TOKEN=admin).code,
    ]  # fmt: skip
    assert "LONGSHORE_TOKEN" in service("list").err

    assert "revoked eyes\n" == longshore.ok("token", "revoke", "eyes", "--file", str(file))
    assert 0o600 == file.stat().st_mode & 0o777
    eventually(lambda: service("list", LONGSHORE_TOKEN=reader).code == REFUSED)
    assert OK == service("list", LONGSHORE_TOKEN=admin).code
    assert FAILED == longshore("token", "revoke", "eyes", "--file", str(file)).code


def test_a_tokens_file_that_is_not_there_is_said(longshore: Cli) -> None:
    for words in (("list",), ("revoke", "me")):
        done = longshore("token", *words, "--file", "nowhere")
        assert (FAILED, "", True) == (done.code, done.out, "nowhere" in done.err)
    assert USAGE == longshore("token", "list").code


def test_the_openapi_document_is_the_published_one(longshore: Cli) -> None:
    assert (ROOT / "docs" / "openapi.json").read_text() == longshore.ok("openapi")


def test_the_version_is_printed(longshore: Cli) -> None:
    assert f"{__version__}\n" == longshore.ok("version")


def test_a_shell_learns_to_complete(longshore: Cli) -> None:
    script = longshore.ok("completion", "bash")
    completed = longshore(_LONGSHORE_COMPLETE="bash_complete", COMP_WORDS="longshore re", COMP_CWORD="1")

    assert "_LONGSHORE_COMPLETE" in script
    assert ["redrive", "reload", "restore", "resume"] == sorted(re.findall(r"plain,(\w+)", completed.out))


def test_a_pool_is_simulated_from_a_trace(longshore: Cli, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("".join(f"{number // 2},3\n" for number in range(120)))
    lines = longshore.ok("simulate", "--trace", str(trace), "--hours", "0.1", "--max", "4", "--slots", "2").splitlines()

    assert "120 jobs started in 0.1 h" == lines[0]
    assert lines[1].endswith(" s at most")
    assert "workers: 4 at most" in lines[3]
    assert lines[-1].endswith(" 0"), "nothing to do at the end, and pods are paid"


@pytest.mark.parametrize(
    ("text", "said"),
    [("1,2\n0,2\n", "line 2 of the trace is before"), ("one,2\n", "line 1 of the trace is not two numbers")],
)
def test_a_trace_that_cannot_be_read_is_refused_by_its_line(
    longshore: Cli, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "trace.csv").write_text(text)
    refused = longshore("simulate", "--trace", str(tmp_path / "trace.csv"))

    assert USAGE == refused.code
    assert said in refused.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(longshore: Cli, command: str) -> None:
    text = longshore.ok(command, "--help")
    said = text.split("\n\n")[1].strip()

    assert text.startswith(f"Usage: longshore {command}")
    assert said.endswith((".", ";")) or "." in said
    assert command in longshore.ok("--help")


def test_the_help_tells_the_exit_codes(longshore: Cli) -> None:
    assert "Exit codes: 0 done" in longshore.ok("--help")


def test_a_reader_that_has_seen_enough_is_no_error(longshore: Cli, shared_service: Service) -> None:
    longshore.id("echo", "--wait")
    command = f"{sys.executable} -m longshore list --all -o json | head -c 1"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LONGSHORE_URL": shared_service.url}
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=30
    )

    assert ("[", "") == (done.stdout, done.stderr)


def test_a_chain_is_redriven_in_any_order(longshore: Cli) -> None:
    """The reduce ran before its input, which was redriven after it."""
    longshore("submit", "fail", "--name", "cli-input", "--wait")
    longshore("submit", "echo", "--name", "cli-reduce", "--after", "cli-input", "--wait")
    refused = longshore("redrive", "cli-reduce")
    longshore.ok("redrive", "cli-reduce", "cli-input")
    longshore.ok("wait", "cli-reduce")
    ends = json.loads(longshore.ok("wait", "cli-input", "cli-reduce", "-o", "json"))

    assert REFUSED == refused.code
    assert "cli-reduce waits for job cli-input, which is Failed" in refused.err
    assert ends[0]["status"]["finishedAt"] <= ends[1]["status"]["startedAt"]


def test_logs_of_an_array_are_those_of_all_items_with_their_index(longshore: Cli) -> None:
    """Nothing was printed, with exit code 0."""
    array = {"handler": "fail", "count": 3, "args": {"times": 0}, "name": "cli-array"}
    longshore.ok("submit", "-f", "-", "--wait", stdin=json.dumps(array))
    followed = longshore("logs", "-f", "cli-array")

    assert [f"[{index}] attempt 1 of cli-array" for index in range(3)] == longshore.ok("logs", "cli-array").splitlines()
    assert "attempt 1 of cli-array\n" == longshore.ok("logs", "cli-array", "--index", "2")
    assert (USAGE, True) == (followed.code, "--index, 0 to 2" in followed.err)


# -- output ------------------------------------------------------------------------------------------------------------


def test_output_that_nobody_reads_is_no_error(longshore: Cli, tmp_path: Path) -> None:
    """The command itself ended with 1, which `set -o pipefail` sees."""
    longshore.id("echo")
    for words in (["list", "--all"], ["list", "-o", "json"], ["config", "-o", "wide"], ["openapi"]):
        assert OK == longshore.unread(*words), words


def test_a_list_that_is_cut_says_so(longshore: Cli) -> None:
    label = ("--label", "cut=yes")
    ids = [longshore.id("echo", *label) for _ in range(3)]
    cut, whole, exact = (
        longshore("list", *label, "-o", "json", *n) for n in (["--limit", "2"], ["--all"], ["--limit", "3"])
    )

    assert (ids[:0:-1], ids[::-1], ids[::-1]) == tuple([job["id"] for job in ran.json()] for ran in (cut, whole, exact))
    assert "only the newest 2 are shown; --all shows all" in cut.err
    assert "" == whole.err == exact.err


def test_a_wait_prints_the_result_and_nothing_else(longshore: Cli) -> None:
    """It printed a table."""
    array = {"handler": "echo", "items": [{"x": 1}, {"x": 2}]}
    done = longshore("submit", "echo", "x=1", "--wait")
    many = longshore("submit", "-f", "-", "--wait", stdin=json.dumps(array))
    failed = longshore("submit", "fail", "--wait", "--name", "cli-no-result")
    watched = longshore("submit", "echo", "x=2", "--watch")

    assert ({"x": 1}, {"x": 2}) == (done.json(), watched.json())
    assert re.fullmatch(r"longshore: job \S+ Succeeded\n", done.err)
    assert [{"index": n, "result": {"x": n + 1}} for n in range(2)] == [
        json.loads(line) for line in many.out.splitlines()
    ]
    assert (FAILED, "") == (failed.code, failed.out)
    assert "job cli-no-result Failed: HandlerError: longshore_samples.fail.Unlucky: as you wished" in failed.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("submit prim", "primes"),
        ("list --phase suc", "Succeeded"),
        ("list --handler wordc", "wordcount"),
        ("list --queue def", "default"),
        ("queues pause def", "default"),
        ("logs cli-compl", "cli-completed"),
        ("cancel cli-compl", "cli-completed"),
    ],
)
def test_a_shell_completes_what_the_service_has(longshore: Cli, words: str, expected: str) -> None:
    longshore("submit", "echo", "--name", "cli-completed")
    line = {"COMP_WORDS": f"longshore {words}", "COMP_CWORD": str(len(words.split()))}
    found = longshore(_LONGSHORE_COMPLETE="bash_complete", **line)

    assert [expected] == re.findall(r"plain,(\S+)", found.out)


def test_a_shell_completes_nothing_without_a_service(tmp_path: Path) -> None:
    line = {"COMP_WORDS": "longshore submit pri", "COMP_CWORD": "2"}
    found = Cli(f"http://127.0.0.1:{free_port()}", tmp_path)(_LONGSHORE_COMPLETE="bash_complete", **line)

    assert ("", "") == (found.out.strip(), found.err)


def test_a_refusal_says_what_is_wrong_before_the_details(longshore: Cli) -> None:
    fields = {"handler": "echo", "priority": "high", "args": [], "colour": 1}
    refused = longshore("submit", "-f", "-", stdin=json.dumps(fields))
    first, *details = refused.err.splitlines()

    assert REFUSED == refused.code
    assert first.startswith("longshore: /")
    assert {
        "  /priority: should be a whole number",
        "  /args: should be an object",
        "  /colour: there is no such field",
    } > set(details)
    assert 2 == len(details), "the headline is not said again"


def test_a_queue_that_is_not_there_names_the_command_that_lists_them(longshore: Cli) -> None:
    refused = longshore("queues", "set", "nowhere", "concurrency=1")

    assert NOT_FOUND == refused.code
    assert "`longshore queues` shows what there is" in refused.err


def test_a_queue_as_a_manifest_names_the_ways_to_make_one(longshore: Cli) -> None:
    manifest = "apiVersion: longshore.dev/v1alpha1\nkind: Queue\nmetadata: {name: x}\nspec: {}\n"
    refused = longshore("submit", "-f", "-", stdin=manifest)

    assert REFUSED == refused.code
    assert "/kind: this takes a Job, not a Queue" in refused.err
    assert "[queues.NAME]" in refused.err
    assert "longshore queues set" in refused.err


def test_webhooks_that_fail_are_shown_and_tried_again(
    start_service: Callable[..., Service], eventually: Callable[..., Any], tmp_path: Path
) -> None:
    service = start_service(webhook_allow_local=True)
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/hook"
        job = service.client().submit({"handler": "echo", "webhook": {"url": url}})["id"]
        eventually(lambda: any(one["attempts"] for one in service.client().deliveries()))
        longshore = Cli(service.url, tmp_path)

        shown = longshore.ok("webhooks", "list")
        assert all(word in shown for word in (job, "Retrying", "ConnectionRefusedError", url))
        assert [job] == [one["job"] for one in json.loads(longshore.ok("webhooks", "list", "-o", "json"))]
        assert "1 delivery is tried now" in longshore.ok("webhooks", "retry", job)
        assert "is tried now" in longshore.ok("webhooks", "retry", "--all")
        assert USAGE == longshore("webhooks", "retry").code
        assert NOT_FOUND == longshore("webhooks", "retry", "no-such").code
