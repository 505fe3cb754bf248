"""One operator leads; another one takes over when it must, and never before. Against a real API server."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kube.api_service import until_allowed
from kube.control_plane import ControlPlane
from kube.operator_side import client_of, until
from longshore_operator.errors import ConfigError
from longshore_operator.kube.client import KubeClient
from longshore_operator.kube.lease import Elector, identity_of

FAST = {"lease_seconds": 3, "renew_seconds": 2, "retry_seconds": 0.2}

HOLDER = """
import asyncio, sys, time
from longshore_operator.kube.client import KubeClient
from longshore_operator.kube.config import load
from longshore_operator.kube.lease import Elector

async def main(kubeconfig, namespace, mode):
    client = KubeClient(load(kubeconfig))
    await client.open()
    elector = Elector(client, namespace, "operator", "holder", lease_seconds=3, renew_seconds=2, retry_seconds=0.2)
    await elector.acquire()
    print("leading", flush=True)
    if mode == "blocked":
        asyncio.get_running_loop().call_soon(time.sleep, 600)
    await elector.hold(lambda: print("lost", elector.leading, flush=True))
    await client.close()

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def holder(plane: ControlPlane, namespace: str, mode: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that leads."""
    command = [sys.executable, "-c", HOLDER, str(plane.admin), namespace, mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "leading\n" == process.stdout.readline()
            yield process
        finally:
            process.kill()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 100))


def path(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator"


def elector(client: KubeClient, namespace: str, who: str, **changes: Any) -> Elector:
    return Elector(client, namespace, "operator", who, **(FAST | changes))


def put_lease(plane: ControlPlane, namespace: str, **spec: object) -> None:
    """Somebody else holds it, whatever it was before."""
    status, lease = plane.request("GET", path(namespace))
    body = {"metadata": lease["metadata"] if status == 200 else {"name": "operator"}, "spec": spec}
    if status == 200:
        plane.must("PUT", path(namespace), body)
    else:
        plane.must("POST", path(namespace).rpartition("/")[0], body)


@pytest.mark.parametrize("address", ["10.0.0.7:8080", "[fd00::7]:8080"])
def test_an_identity_says_where_the_holder_is(address: str) -> None:
    assert ("operator-5d9-x2", "_", address) == identity_of("operator-5d9-x2", address).partition("_")


@pytest.mark.parametrize("changes", [{"renew_seconds": 3}, {"retry_seconds": 2}, {"retry_seconds": 0}])
def test_times_that_contradict_each_other_are_refused(changes: Any) -> None:
    with pytest.raises(ConfigError, match="retry < renew < lease"):
        elector(None, "default", "a", **changes)  # type: ignore[arg-type]  # never used


def test_of_two_one_leads_and_hands_over(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        async with client_of(control_plane) as client:
            # A lease far longer than the test: the second one cannot have waited for it to run out.
            long = {"lease_seconds": 300, "renew_seconds": 200}
            first, second = (elector(client, namespace, who, **long) for who in ("a_1.2.3.4:5", "b_1.2.3.4:6"))
            both = {asyncio.create_task(one.acquire()): one for one in (first, second)}
            done, waiting = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            leader, other = both[done.pop()], both[waiting.pop()]
            holding = asyncio.create_task(leader.hold(lambda: pytest.fail("lost")))
            await until(lambda: other.holder() == leader.identity, what="that the other knows the leader")
            assert (leader.leading, other.leading) == (True, False)

            await leader.release()
            assert not leader.leading
            await until(lambda: other.leading, what="the take-over")
            await holding
            assert other.epoch == leader.epoch + 1
            assert other.identity == control_plane.must("GET", path(namespace))["spec"]["holderIdentity"]
            await other.release()
            spec = control_plane.must("GET", path(namespace))["spec"]
            assert ("", 1) == (spec["holderIdentity"], spec["leaseDurationSeconds"])

    run(test())


def test_a_silent_holder_is_followed_after_its_lease_and_not_before(
    control_plane: ControlPlane, namespace: str
) -> None:
    async def test() -> None:
        looks: list[str] = []
        async with client_of(control_plane, counted=lambda kind, result: looks.append(result)) as client:
            time = [1000.0]
            first = elector(client, namespace, "a")
            await first.acquire()  # and is never heard of again
            first._let_go()
            second = elector(client, namespace, "b", clock=lambda: time[0])
            waiting = asyncio.create_task(second.acquire())
            await until(lambda: second.holder() == "a", what="a look at the lease")
            time[0] += 2.9
            looks.clear()
            await until(lambda: len(looks) >= 3, what="more looks at the lease")
            assert not second.leading
            assert not waiting.done()
            time[0] += 0.2
            await waiting
            assert second.leading
            await second.release()

    run(test())


@pytest.mark.parametrize("renewed", ["2001-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z"])
def test_the_clock_of_the_holder_does_not_matter(control_plane: ControlPlane, namespace: str, renewed: str) -> None:
    async def test() -> None:
        async with client_of(control_plane) as client:
            put_lease(control_plane, namespace, holderIdentity="a", leaseDurationSeconds=3, renewTime=renewed)
            time = [0.0]
            second = elector(client, namespace, "b", clock=lambda: time[0])
            assert not await second._take()
            assert "a" == second.holder()
            # A sign of life counts from when it is seen, whatever time it carries; a label is none.
            time[0] = 2.0
            put_lease(
                control_plane,
                namespace,
                holderIdentity="a",
                leaseDurationSeconds=3,
                renewTime="1999-01-01T00:00:00.000000Z",
            )
            assert not await second._take()
            time[0] = 4.9
            control_plane.must("PATCH", path(namespace), {"metadata": {"labels": {"team": "x"}}})
            assert not await second._take()
            time[0] = 5.1
            assert await second._take()
            assert {"team": "x"} == control_plane.must("GET", path(namespace))["metadata"]["labels"]

    run(test())


def test_a_foreign_write_ends_the_leadership(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        async with client_of(control_plane) as client:
            lost: list[str] = []
            first = elector(client, namespace, "a", lease_seconds=300, renew_seconds=200)
            await first.acquire()
            holding = asyncio.create_task(first.hold(lambda: lost.append("lost")))
            put_lease(control_plane, namespace, holderIdentity="thief", leaseDurationSeconds=60, leaseTransitions=9)
            await holding
            assert (["lost"], False, "thief") == (lost, first.leading, first.holder())
            await first.release()
            assert "thief" == control_plane.must("GET", path(namespace))["spec"]["holderIdentity"]

    run(test())


def test_the_same_identity_with_another_epoch_is_another_process(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        async with client_of(control_plane) as client:
            lost: list[str] = []
            long = {"lease_seconds": 300, "renew_seconds": 200}
            first, again = elector(client, namespace, "a", **long), elector(client, namespace, "a", **long)
            await first.acquire()
            holding = asyncio.create_task(first.hold(lambda: lost.append("lost")))
            await again.acquire()
            await holding
            assert (["lost"], True) == (lost, again.leading)
            await again.release()

    run(test())


@pytest.mark.parametrize("harm", ["labelled", "deleted"])
def test_a_lease_that_somebody_touches_stays_ours(control_plane: ControlPlane, namespace: str, harm: str) -> None:
    async def test() -> None:
        async with client_of(control_plane) as client:
            first = elector(client, namespace, "a", lease_seconds=300, renew_seconds=200)
            await first.acquire()
            holding = asyncio.create_task(first.hold(lambda: pytest.fail("lost")))
            if harm == "labelled":
                control_plane.must("PATCH", path(namespace), {"metadata": {"labels": {"team": "x"}}})
            else:
                control_plane.must("DELETE", path(namespace))
            before = first._renewed_at
            await until(lambda: first._renewed_at > before + 0.5, what="the next renewals")
            assert first.leading
            lease = control_plane.must("GET", path(namespace))
            assert ("a", first.epoch) == (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"])
            assert (
                {"team": "x"} == lease["metadata"]["labels"]
                if harm == "labelled"
                else "labels" not in lease["metadata"]
            )
            await first.release()
            await holding

    run(test())


def test_a_short_absence_of_the_api_server_changes_nothing(own_control_plane: ControlPlane) -> None:
    async def test() -> None:
        async with client_of(own_control_plane) as client:
            first = elector(client, "default", "a", lease_seconds=90, renew_seconds=80)
            await first.acquire()
            holding = asyncio.create_task(first.hold(lambda: pytest.fail("lost")))
            own_control_plane.kill_apiserver()
            await asyncio.to_thread(own_control_plane.start_apiserver)
            back = first._clock()
            await until(lambda: first._renewed_at > back, what="a renewal by the new API server")
            assert first.leading
            assert 1 == own_control_plane.must("GET", path("default"))["spec"]["leaseTransitions"]
            await first.release()
            await holding

    run(test())


def test_a_long_absence_of_the_api_server_ends_the_leadership(own_control_plane: ControlPlane) -> None:
    async def test() -> None:
        async with client_of(own_control_plane) as client:
            lost: list[bool] = []
            first = elector(client, "default", "a")
            await first.acquire()
            holding = asyncio.create_task(first.hold(lambda: lost.append(first.leading)))
            own_control_plane.kill_apiserver()
            await holding
            assert [False] == lost
            await asyncio.to_thread(own_control_plane.start_apiserver)
            second = elector(client, "default", "b")
            await second.acquire()
            assert second.epoch == first.epoch + 1
            await second.release()

    run(test())


def test_a_blocked_event_loop_ends_the_process(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        async with client_of(control_plane) as client:
            ended = threading.Event()
            first = elector(client, namespace, "a", end=ended.set)
            await first.acquire()
            holding = asyncio.create_task(first.hold(lambda: None))
            assert ended.wait(30)  # nothing else runs in this loop meanwhile
            assert not first.leading
            await holding

    run(test())


def test_a_process_whose_event_loop_is_blocked_ends(control_plane: ControlPlane, namespace: str) -> None:
    with holder(control_plane, namespace, "blocked") as process:
        _, said = process.communicate(timeout=60)
        assert 1 == process.returncode
        assert "the event loop was blocked until the lease ran out; ending the process" in said


def test_a_killed_holder_is_followed(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        async with client_of(control_plane) as client:
            with holder(control_plane, namespace) as process:
                process.kill()
                second = elector(client, namespace, "b")
                await second.acquire()
                assert 2 == second.epoch
                await second.release()

    run(test())


def test_a_holder_that_was_asleep_wakes_up_without_the_lease(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        async with client_of(control_plane) as client:
            with holder(control_plane, namespace) as process:
                process.send_signal(signal.SIGSTOP)
                # It keeps what it has got, however slow the machine is.
                second = elector(client, namespace, "b", lease_seconds=300, renew_seconds=200)
                await second.acquire()
                holding = asyncio.create_task(second.hold(lambda: pytest.fail("lost")))
                process.send_signal(signal.SIGCONT)
                said, _ = await asyncio.to_thread(process.communicate, timeout=60)
                # Its watchdog or its event loop, whichever wakes up first.
                assert (process.returncode, said) in ((1, ""), (0, "lost False\n"))
                assert second.leading
                await second.release()
                await holding

    run(test())


@pytest.mark.parametrize("verb", ["get", "create", "update"])
def test_a_missing_right_is_named(control_plane: ControlPlane, namespace: str, verb: str, tmp_path: Path) -> None:
    have = ",".join({"get", "create", "update"} - {verb})
    who = f"elector-without-{verb}-in-{namespace}"
    for args in (
        ["role", "elector", f"--verb={have}", "--resource=leases.coordination.k8s.io"],
        ["rolebinding", "elector", "--role=elector", f"--user={who}"],
    ):
        control_plane.kubectl("create", *args, "-n", namespace, check=True)
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": have.split(",")}
    until_allowed(control_plane, who, namespace, [rule])
    if verb == "update":
        put_lease(control_plane, namespace, holderIdentity="", leaseDurationSeconds=1)

    async def test() -> None:
        async with client_of(control_plane, control_plane.kubeconfig(who)) as client:
            with pytest.raises(ConfigError, match=rf"lacks the verb '{verb}' on leases.*cannot {verb} resource"):
                await elector(client, namespace, "a").acquire()

    run(test())


def test_a_candidate_outlives_a_refusal_of_what_it_was_allowed(
    control_plane: ControlPlane, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An API server that has just started refuses everybody until it has read the roles."""
    who = f"elector-in-{namespace}"
    role = ["role", "elector", "--verb=get,create,update", "--resource=leases.coordination.k8s.io"]
    binding = ["rolebinding", "elector", "--role=elector", f"--user={who}"]
    for args in (role, binding):
        control_plane.kubectl("create", *args, "-n", namespace, check=True)
    put_lease(control_plane, namespace, holderIdentity="b", leaseDurationSeconds=300)

    async def test() -> None:
        async with client_of(control_plane, control_plane.kubeconfig(who)) as client:
            candidate = elector(client, namespace, "a")
            acquiring = asyncio.create_task(candidate.acquire())
            await until(lambda: candidate.holder() == "b", what="that it knows the leader")
            await asyncio.to_thread(control_plane.kubectl, "delete", "rolebinding", "elector", "-n", namespace)
            await until(lambda: acquiring.done() or "refused" in caplog.text, what="a refusal")
            assert not acquiring.done(), acquiring

            control_plane.kubectl("create", *binding, "-n", namespace, check=True)
            put_lease(control_plane, namespace, holderIdentity="", leaseDurationSeconds=1)
            await acquiring
            await candidate.release()

    run(test())
