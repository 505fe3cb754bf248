"""Operator and api of a cluster say more, and less again, while they run."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from conftest import eventually
from kube.api_service import ApiService
from kube.control_plane import ControlPlane
from kube.operators import Rig
from kube.pool import Pool


def test_the_operator_tells_at_debug_what_it_offers_reads_and_writes(rig: Rig) -> None:
    rig.worker()
    leader = rig.leader()
    assert leader.process is not None
    rig.submit("before")
    rig.end_of("before")
    os.kill(leader.process.pid, signal.SIGUSR1)
    leader.wait_for("log_level")
    rig.submit("meanwhile")
    rig.end_of("meanwhile")
    os.kill(leader.process.pid, signal.SIGUSR2)
    leader.wait_for("log_level", times=2)
    rig.submit("after")
    rig.end_of("after")

    assert ["debug", "info"] == [line["now"] for line in leader.lines("log_level")]
    offered, written = leader.lines("attempt_offered"), leader.lines("status_written")
    assert [("meanwhile", "accepted")] == [(line["job"], line["answer"]) for line in offered]
    assert [("meanwhile", "Succeeded")] == [(line["job"], line["phase"]) for line in written]
    ends = [entry for line in leader.lines("feed_read") for entry in line["entries"]]
    assert ["succeeded"] == [entry["outcome"] for entry in ends]
    assert not any("result" in entry for entry in ends)
    assert {"at", "level", "action"} <= offered[0].keys()
    assert not leader.lines("asyncio")


def test_the_operator_tells_at_debug_what_a_pool_is_scaled_by(pool: Pool) -> None:
    leader = pool.leader(leader_election=False, log_level="debug")
    pool.node.deployment("default", {"min-workers": "0", "max-workers": "3"})
    pool.submit("one", "echo")
    pool.until(lambda: pool.replicas() == 1, "a worker")

    told = next(line for line in leader.lines("scaling_decided") if line["workers"] == 1)
    assert ("default", 1, True) == (told["pool"], told["wanted"], "waiting_jobs" in told["demand"])
    assert told["capacity"]["slots"] >= 1


def test_an_api_without_an_engine_switches_without_a_second_arbiter_and_tells_no_token(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    api = ApiService(tmp_path / "api", cluster, cluster.make_namespace(), access_log="errors")
    api.start()

    def lines(action: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in api.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in found if line["action"] == action]

    def look(path: str, token: str | None = None) -> list[dict[str, Any]]:
        api.ask("GET", path, token=token)
        return [line for line in lines("request") if line["path"] == path]

    try:
        workers = api.child("gunicorn")
        os.kill(api.pid, signal.SIGUSR1)
        refused = eventually(lambda: look("/v1/workers", token="a-wrong-token"), what="a line of a refusal")
        assert eventually(lambda: look("/v1/jobs"), what="a line of a request")[-1]["level"] == "debug"
        assert (401, "unauthenticated") == (refused[-1]["status"], refused[-1]["code"])
        os.kill(api.pid, signal.SIGUSR2)
        eventually(lambda: [line["now"] for line in lines("log_level")] == ["debug", "info"], what="the way back")
        assert workers == api.child("gunicorn"), "SIGUSR2 would start another arbiter"
        secrets = (api.token, "a-wrong-token")
        assert not [secret for secret in secrets if secret in api.log.read_text()]
    finally:
        api.end()
