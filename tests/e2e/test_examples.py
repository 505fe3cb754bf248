"""Examples that need something beside the defaults of the chart: commands, a receiver, a key, a clock."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from e2e.images import ROOT
from e2e.release import Object, Release
from longshore.job import webhook
from receiver import Receiver

EXAMPLES = ROOT / "manifests/examples"
KEY = b"a key of thirty-two bytes, or so"
CLOCK_SECONDS = 100  # a cron line is due within 60 s, and the job has to run


def example(name: str) -> Object:
    """The manifest."""
    found: Object = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return found


@pytest.fixture(scope="module", autouse=True)
def pool(release: Release) -> None:
    """Workers that run commands, an operator that has the key of webhooks, and a schedule that comes due meanwhile."""
    text = f"whsec_{base64.b64encode(KEY).decode()}"
    release.kubectl("create", "secret", "generic", "hooks", f"--from-literal=hook-key={text}")
    release.upgrade({
        "pools": {"default": {"commands": True}}, "operator": {"webhookSecrets": {release.namespace: "hooks"}},
    })  # fmt: skip
    schedule = example("schedule")
    schedule["spec"]["cron"] = "* * * * *"
    release.kubectl("apply", "--filename=-", input=yaml.safe_dump(schedule))


@pytest.fixture
def receiver(release: Release) -> Iterator[Receiver]:
    """On this machine, where pods reach it."""
    receiver = Receiver(host=release.node.ground.gateway)
    yield receiver
    receiver.close()


def test_a_command_runs_where_that_is_switched_on(release: Release) -> None:
    release.kubectl("apply", f"--filename={EXAMPLES}/command.yaml")

    status = release.wait("command")
    assert ("Succeeded", 0) == (status["phase"], status["history"][-1]["exitCode"])


def test_a_receiver_hears_of_the_end_and_can_check_who_says_it(release: Release, receiver: Receiver) -> None:
    job = example("webhook")
    job["spec"]["webhook"]["url"] = receiver.url
    job["spec"]["startAfter"] = "2100-01-01T00:00:00Z"
    release.kubectl("apply", "--filename=-", input=yaml.safe_dump(job))
    release.kubectl("patch", "lsj", "webhook", "--type=merge", '--patch={"spec":{"cancel":true}}')
    release.kubectl("wait", "--for=condition=WebhookDelivered", "lsj/webhook", "--timeout=60s")

    ((headers, body, _),) = receiver.got
    assert "Cancelled" in body.decode()
    signed = webhook.sign([KEY], headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert signed == headers["webhook-signature"]


def test_jobs_of_a_queue_wait_while_it_is_paused(release: Release) -> None:
    release.kubectl("apply", f"--filename={EXAMPLES}/queue.yaml")
    release.kubectl("patch", "lsq", "reports", "--type=merge", '--patch={"spec":{"paused":true}}')
    release.submit("paused", handler="echo", queue="reports")
    release.submit("passes", handler="echo")
    assert "Succeeded" == release.wait("passes")["phase"]
    assert "Pending" == release.job("paused")["status"]["phase"]

    release.kubectl("patch", "lsq", "reports", "--type=merge", '--patch={"spec":{"paused":false}}')

    assert "Succeeded" == release.wait("paused")["phase"]


def test_a_schedule_makes_a_job_when_it_is_due(release: Release, eventually: Callable[..., Any]) -> None:
    """Last, because it waits for the end of a minute."""

    def made() -> list[str]:
        return release.kubectl("get", "lsj", "--selector=team=reports", "--output=name").split()

    eventually(made, seconds=CLOCK_SECONDS, what="the schedule has made a job")
    assert "Succeeded" == release.wait(made()[0].partition("/")[2])["phase"]
    release.kubectl("delete", f"--filename={EXAMPLES}/schedule.yaml")
