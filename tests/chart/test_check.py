"""The script of `helm test` against a real service; job resources are in tests/kube/test_chart.py."""

import os
import subprocess
import sys

import pytest

from helm_chart import CHART
from service import Service


def check(
    what: str, url: str, handler: str = "echo", seconds: str = "20", args: str = '{"x": 1}'
) -> subprocess.CompletedProcess[str]:
    variables = {"CHECK_URL": url, "CHECK_HANDLER": handler, "CHECK_ARGS": args, "CHECK_SECONDS": seconds}
    return subprocess.run([sys.executable, CHART / "files/check.py", what], env=os.environ | variables,
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip


def test_health_is_good_when_the_api_is_ready(shared_service: Service) -> None:
    assert (0, "the api is ready\n") == ((done := check("health", shared_service.url)).returncode, done.stdout)


def test_a_job_over_http_has_to_succeed(shared_service: Service) -> None:
    done = check("http", shared_service.url)

    assert done.returncode == 0, done.stderr
    assert 'succeeded: {"x": 1}' in done.stdout


@pytest.mark.parametrize(("handler", "said"), [("fail", "is Failed"), ("nobody", "422")])
def test_a_job_that_fails_or_is_refused_fails_the_check(shared_service: Service, handler: str, said: str) -> None:
    done = check("http", shared_service.url, handler, args="{}")

    assert done.returncode == 1
    assert said in done.stderr


def test_who_cannot_be_reached_is_tried_again_until_the_time_is_over() -> None:
    done = check("health", "http://127.0.0.1:1", seconds="3")

    assert done.returncode == 1
    assert done.stdout.count("not yet") >= 2
    assert "gave up" in done.stderr
