"""Schedules create their jobs, once each. Against a real API server, with the tests' own clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kube.api_service import conditions_of, until_allowed
from kube.control_plane import ControlPlane
from kube.operator_side import Json, client_of, until
from longshore_operator.kube.client import KubeClient, path_of
from longshore_operator.schedules import Schedules


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 100))


pytestmark = pytest.mark.usefixtures("cluster")


class Stage:
    """Schedules of one namespace, and the events that a watch would bring; the clock stands until it is moved."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        self.now = datetime.now(UTC)
        self.results: list[tuple[str, str]] = []
        self.on_answer: Callable[[str], None] = lambda _kind: None
        self.told: dict[str, Json] = {}

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Schedules]:
        async with client_of(self.plane, counted=self.counted) as client:
            yield self.schedules(client)

    def counted(self, kind: str, result: str) -> None:
        self.results.append((kind, result))
        self.on_answer(kind)

    def schedules(self, client: KubeClient) -> Schedules:
        return Schedules(client, lambda: self.now)

    def create(self, name: str = "often", **spec: object) -> None:
        body = {
            "apiVersion": "longshore.dev/v1alpha1", "kind": "Schedule", "metadata": {"name": name},
            "spec": {"cron": "* * * * *", "jobTemplate": {"spec": {"handler": "echo"}}} | spec,
        }  # fmt: skip
        made = self.plane.must("POST", path_of("schedules", self.namespace), body)
        # The end of the minute in which it was made, by the API server's clock: no tick has passed since.
        self.now = datetime.fromisoformat(made["metadata"]["creationTimestamp"]).replace(second=59)

    def change(self, **spec: object) -> None:
        self.plane.must("PATCH", path_of("schedules", self.namespace, "often"), {"spec": spec})

    def status(self) -> Json:
        found: Json = self.plane.must("GET", path_of("schedules", self.namespace, "often")).get("status") or {}
        return found

    def jobs(self) -> list[Json]:
        found: list[Json] = self.plane.must("GET", path_of("jobs", self.namespace))["items"]
        return sorted(found, key=lambda job: str(job["metadata"]["name"]))

    def finish(self, name: str, phase: str = "Succeeded") -> None:
        ended = {"finishedAt": self.now.isoformat(), "conditions": conditions_of(phase)}
        body = {"status": {"phase": phase, **ended}}
        self.plane.must("PATCH", path_of("jobs", self.namespace, name, "status"), body)

    def tell(self, schedules: Schedules) -> None:
        """What a watch of schedules, and one of jobs that excludes Succeeded and Cancelled, has brought since."""
        for schedule in self.plane.must("GET", path_of("schedules", self.namespace))["items"]:
            schedules.seen("MODIFIED", schedule)
        there = {job["metadata"]["uid"]: job for job in self.jobs()}
        for uid, job in (self.told | there).items():
            if uid in there and job["status"]["phase"] not in ("Succeeded", "Cancelled"):
                schedules.job_seen(job)
            else:
                schedules.job_gone(job)
        self.told = there

    async def minute(self, schedules: Schedules) -> None:
        """On to the next full minute."""
        self.now = self.now.replace(second=0) + timedelta(minutes=1)
        self.tell(schedules)
        await schedules.turn()

    def writes(self) -> int:
        return len([kind for kind, _ in self.results if kind in ("create", "schedule_status", "delete", "cancel")])


def test_a_tick_makes_one_job_and_two_writes(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create(jobTemplate={"labels": {"team": "x"}, "spec": {"handler": "echo", "args": {"a": 1}}})
        async with stage.operator() as schedules:
            stage.tell(schedules)
            await schedules.turn()
            await stage.minute(schedules)
            [job] = stage.jobs()
            assert {"team": "x", "longshore.dev/schedule": "often"} == job["metadata"]["labels"]
            [owner] = job["metadata"]["ownerReferences"]
            assert ("Schedule", "often") == (owner["kind"], owner["name"])
            assert {"a": 1} == job["spec"]["args"]
            status = stage.status()
            assert stage.now == datetime.fromisoformat(status["lastScheduleTime"])
            assert [{"name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}] == status["active"]
            assert ("True", "Scheduled") == (status["conditions"][0]["status"], status["conditions"][0]["reason"])

            stage.results.clear()
            control_plane.must("PATCH", path_of("schedules", namespace, "often"), {"metadata": {"labels": {"a": "b"}}})
            stage.tell(schedules)
            await schedules.turn()
            assert 0 == stage.writes(), "something was written though nothing has changed"
            await stage.minute(schedules)
            assert 2 == len(stage.jobs())
            assert 2 == stage.writes(), "more than a job and a status"

    run(test())


def test_two_leaders_at_once_make_one_job(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create()
        async with stage.operator() as one, stage.operator() as two:
            for _ in range(3):
                stage.now = stage.now.replace(second=0) + timedelta(minutes=1)
                for schedules in (one, two):
                    stage.tell(schedules)
                await asyncio.gather(one.turn(), two.turn())
            assert 3 == len(stage.jobs())
            assert ("create", "409") in stage.results, "the two did not meet"
            stage.tell(one)
            stage.tell(two)
            await asyncio.gather(one.turn(), two.turn())
            assert 3 == len(stage.status()["active"])
            assert stage.now == datetime.fromisoformat(stage.status()["lastScheduleTime"])

    run(test())


def test_an_operator_that_died_after_the_creation_is_followed_by_one_that_knows(
    control_plane: ControlPlane, namespace: str
) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create()
        stage.now += timedelta(seconds=1)
        async with stage.operator() as first:
            stage.tell(first)
            first._write = lambda *_: asyncio.sleep(0)  # type: ignore[method-assign]  # it dies here
            await first.turn()
        assert "lastScheduleTime" not in stage.status()
        async with stage.operator() as second:
            stage.tell(second)
            await second.turn()
            assert 1 == len(stage.jobs())
            assert stage.now == datetime.fromisoformat(stage.status()["lastScheduleTime"])
            assert 1 == len(stage.status()["active"])

    run(test())


def test_forbid_leaves_a_tick_out_and_does_not_make_up_for_it(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create(concurrencyPolicy="Forbid")
        async with stage.operator() as schedules:
            await stage.minute(schedules)
            await stage.minute(schedules)
            [job] = stage.jobs()
            stage.now += timedelta(seconds=30)
            stage.finish(job["metadata"]["name"])
            stage.tell(schedules)
            await schedules.turn()
            assert 1 == len(stage.jobs()), "the tick that was left out was made up for"
        # An operator that knows nothing of it decides the same, by the job that was in the way.
        async with stage.operator() as another:
            stage.tell(another)
            await another.turn()
            assert 1 == len(stage.jobs()), "the next operator made up for it"
            stage.now += timedelta(seconds=30)
            await another.turn()
            assert 2 == len(stage.jobs())

    run(test())


def test_an_end_may_be_seen_before_the_creation_is_answered(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create(concurrencyPolicy="Forbid")
        async with stage.operator() as schedules:

            def ends(kind: str) -> None:
                if kind == "create":
                    [job] = stage.jobs()
                    stage.finish(job["metadata"]["name"])
                    schedules.job_gone(job)

            stage.on_answer = ends
            await stage.minute(schedules)
            assert "active" not in stage.status()
            await schedules.turn()
            assert stage.now == datetime.fromisoformat(stage.status()["lastSuccessfulTime"])

    run(test())


@pytest.mark.parametrize("end", ["deleted", "succeeded"])
def test_forbid_goes_on_after_an_end_that_nobody_told_of(control_plane: ControlPlane, namespace: str, end: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create(concurrencyPolicy="Forbid")
        async with stage.operator() as schedules:
            await stage.minute(schedules)
            [first] = stage.jobs()
            if end == "deleted":
                control_plane.must("DELETE", path_of("jobs", namespace, first["metadata"]["name"]))
            else:
                stage.finish(first["metadata"]["name"])
            stage.now += timedelta(minutes=1)
            await schedules.turn()
            name = stage.jobs()[-1]["metadata"]["name"]
            assert name != first["metadata"]["name"]
            assert [name] == [job["name"] for job in stage.status()["active"]]

    run(test())


def test_a_new_leader_knows_what_runs_before_its_watch_has_told_it(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create(concurrencyPolicy="Forbid")
        async with stage.operator() as first:
            await stage.minute(first)
            stage.now = stage.now + timedelta(minutes=1)
        async with stage.operator() as second:
            second.seen(None, control_plane.must("GET", path_of("schedules", namespace, "often")))
            await second.turn()
            [job] = stage.jobs()
            assert [job["metadata"]["name"]] == [one["name"] for one in stage.status()["active"]]

    run(test())


def test_a_new_leader_forgets_what_ended_before_its_time(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create()
        async with stage.operator() as first:
            await stage.minute(first)
        control_plane.must("DELETE", path_of("jobs", namespace, stage.jobs()[0]["metadata"]["name"]))
        async with stage.operator() as second:
            second.seen(None, control_plane.must("GET", path_of("schedules", namespace, "often")))
            await second.turn()
            assert "active" not in stage.status()

    run(test())


def test_somebody_else_s_write_is_not_overwritten(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create()
        async with stage.operator() as schedules:
            await stage.minute(schedules)
            later = (stage.now + timedelta(minutes=1)).isoformat()
            path = path_of("schedules", namespace, "often", "status")
            control_plane.must("PATCH", path, {"status": {"lastScheduleTime": later}})
            stage.finish(stage.jobs()[0]["metadata"]["name"])
            schedules.job_gone(stage.jobs()[0])
            await schedules.turn()
            assert ("schedule_status", "409") in stage.results
            assert later == stage.status()["lastScheduleTime"]
            await schedules.turn()
            assert "active" not in stage.status()
            assert later == stage.status()["lastScheduleTime"]

    run(test())


def test_these_rights_are_enough(control_plane: ControlPlane, namespace: str) -> None:
    rules = [
        {"apiGroups": ["longshore.dev"], "resources": ["jobs"], "verbs": ["list", "create", "patch", "delete"]},
        {"apiGroups": ["longshore.dev"], "resources": ["schedules"], "verbs": ["get"]},
        {"apiGroups": ["longshore.dev"], "resources": ["schedules/status"], "verbs": ["patch"]},
    ]
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    control_plane.must("POST", f"{base}/roles", {"metadata": {"name": "clock"}, "rules": rules})
    user = f"clock-of-{namespace}"
    control_plane.kubectl(
        "create", "rolebinding", "clock", "--role=clock", f"--user={user}", "-n", namespace, check=True
    )
    until_allowed(control_plane, user, namespace, rules)

    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create(concurrencyPolicy="Replace", successfulJobsHistoryLimit=0)
        async with client_of(control_plane, control_plane.kubeconfig(user), counted=stage.counted) as client:
            schedules = stage.schedules(client)
            for _ in range(3):
                await stage.minute(schedules)
            stage.finish(stage.jobs()[0]["metadata"]["name"])
            await stage.minute(schedules)
            assert [True, True, False] == [job["spec"]["cancel"] for job in stage.jobs()]
            assert [] == [result for _, result in stage.results if not result.startswith("2")]

    run(test())


def test_replace_cancels_what_runs_and_starts(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create(concurrencyPolicy="Replace")
        async with stage.operator() as schedules:
            await stage.minute(schedules)
            await stage.minute(schedules)
            assert [True, False] == [job["spec"]["cancel"] for job in stage.jobs()]
            stage.finish(stage.jobs()[0]["metadata"]["name"], "Cancelled")
            await stage.minute(schedules)
            assert [True, True, False] == [job["spec"]["cancel"] for job in stage.jobs()]
            # One that is gone in the meantime is in nobody's way.
            control_plane.must("DELETE", path_of("jobs", namespace, stage.jobs()[2]["metadata"]["name"]))
            stage.now += timedelta(minutes=1)
            await schedules.turn()
            assert [True, True, False] == [job["spec"]["cancel"] for job in stage.jobs()]

    run(test())


def test_the_history_keeps_the_newest(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create(successfulJobsHistoryLimit=2, failedJobsHistoryLimit=1)
        names = []
        async with stage.operator() as schedules:
            for phase in ("Succeeded", "Failed", "Succeeded", "Failed", "Succeeded"):
                await stage.minute(schedules)
                names.append(stage.jobs()[-1]["metadata"]["name"])
                stage.finish(names[-1], phase)
            last = stage.now
            stage.tell(schedules)
            await schedules.turn()
            assert [names[2], names[3], names[4]] == [job["metadata"]["name"] for job in stage.jobs()]
            status = stage.status()
            assert last == datetime.fromisoformat(status["lastSuccessfulTime"])
            assert "active" not in status
            stage.change(successfulJobsHistoryLimit=0)
            stage.tell(schedules)
            await schedules.turn()
            assert [names[3]] == [job["metadata"]["name"] for job in stage.jobs()]

    run(test())


def test_a_suspended_schedule_rests_and_makes_up_for_nothing(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create()
        async with stage.operator() as schedules:
            await stage.minute(schedules)
            stage.change(suspend=True)
            for _ in range(3):
                await stage.minute(schedules)
            assert 1 == len(stage.jobs())
            assert "Suspended" == stage.status()["conditions"][0]["reason"]
        stage.change(suspend=False)
        stage.now += timedelta(seconds=30)
        async with stage.operator() as schedules:  # the next operator knows it too
            stage.tell(schedules)
            await schedules.turn()
            assert 1 == len(stage.jobs())
            stage.now += timedelta(seconds=30)
            await schedules.turn()
            assert 2 == len(stage.jobs())

    run(test())


def test_a_deleted_schedule_makes_no_more_jobs(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create("often")
        stage.create("silently")
        async with stage.operator() as schedules:
            await stage.minute(schedules)
            found = control_plane.must("GET", path_of("schedules", namespace, "often"))
            for name in ("often", "silently"):
                control_plane.must("DELETE", path_of("schedules", namespace, name))
            schedules.seen("DELETED", found)
            stage.results.clear()
            stage.now += timedelta(minutes=1)
            await schedules.turn()
            # Nobody told of the other one; it is noticed when its status cannot be written.
            assert [("create", "201"), ("schedule_status", "404"), ("get", "404")] == stage.results
            assert 0 == len(schedules)
            stage.results.clear()
            await stage.minute(schedules)
            assert [] == stage.results

    run(test())


def test_what_cannot_be_done_is_said_and_done_later(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        stage = Stage(control_plane, namespace)
        stage.create(cron="61 * * * *")
        async with stage.operator() as schedules:
            await stage.minute(schedules)
            ready = stage.status()["conditions"][0]
            assert ("False", "InvalidSchedule") == (ready["status"], ready["reason"])
            assert "minute: 61 is outside 0-59" in ready["message"]
            stage.change(cron="* * * * *")
            stage.tell(schedules)
            await schedules.turn()
            assert "True" == stage.status()["conditions"][0]["status"]
            quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.longshore.dev": "0"}}}
            control_plane.must("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
            control_plane.must("PATCH", f"/api/v1/namespaces/{namespace}/resourcequotas/none/status",
                               {"status": {"hard": {"count/jobs.longshore.dev": "0"}, "used": {"count/jobs.longshore.dev": "0"}}})  # fmt: skip

            def refused() -> bool:
                return control_plane.request("POST", path_of("jobs", namespace) + "?dryRun=All", PROBE)[0] == 403

            await until(refused, what="the quota")
            await stage.minute(schedules)
            ready = stage.status()["conditions"][0]
            assert ("False", "JobRefused") == (ready["status"], ready["reason"])
            assert "exceeded quota" in ready["message"]
            assert [] == stage.jobs()
            control_plane.must("DELETE", f"/api/v1/namespaces/{namespace}/resourcequotas/none")
            await until(lambda: not refused(), what="the end of the quota")
            tick, stage.now = stage.now, stage.now + timedelta(seconds=31)
            await schedules.turn()
            assert tick == datetime.fromisoformat(stage.status()["lastScheduleTime"])
            assert 1 == len(stage.jobs())

    run(test())


PROBE = {
    "apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": "probe"}, "spec": {"handler": "echo"},
}  # fmt: skip


def test_it_runs_by_the_clock_and_over_an_absent_api_server(own_control_plane: ControlPlane) -> None:
    async def test() -> None:
        own_control_plane.install_crds()
        stage = Stage(own_control_plane, "default")
        stage.create(cron="0 0 1 1 *")
        async with stage.operator() as schedules:
            stage.tell(schedules)
            running = asyncio.create_task(schedules.run())
            await until(lambda: stage.status().get("conditions"), what="the first condition")
            own_control_plane.kill_apiserver()
            stage.now = stage.now.replace(year=stage.now.year + 1, month=1, day=1, hour=0, minute=0)
            schedules._woken.set()
            await until(lambda: ("create", "unreachable") in stage.results, what="a creation that fails")
            await asyncio.to_thread(own_control_plane.start_apiserver)
            stage.now += timedelta(seconds=5)
            schedules._woken.set()
            await until(
                lambda: len(schedules._entries) == 1 and ("schedule_status", "200") in stage.results[3:],
                what="the status",
            )
            assert 1 == len(stage.jobs())
            assert "lastScheduleTime" in stage.status()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    run(test())
