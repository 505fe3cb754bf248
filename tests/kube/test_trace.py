"""A trace for the simulator from jobs that ran, as kubectl prints them."""

from collections.abc import Iterator

import pytest

from kube.control_plane import ControlPlane
from kube.operators import Rig
from kube.shared_rig import APPS, shared_rig
from longshore_operator.scaling.arrivals import read


@pytest.fixture(scope="module")
def rig(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Jobs of every kind have ended, one has not."""
    with shared_rig(control_plane, tmp_path_factory.mktemp("trace")) as rig:
        rig.worker(apps=APPS, slots=4)
        rig.leader()
        rig.submit("slept", "sleep", args={"seconds": 0.5})
        rig.submit("failed", "sleep", args={"seconds": -1}, maxRetries=1, retry={"initialSeconds": 0.2})
        rig.submit("array", count=3)
        rig.submit("waits", suspend=True)
        for name in ("slept", "failed", "array"):
            rig.end_of(name)
        yield rig


ONCE, WATCHED = (), ("--watch", "--request-timeout=2s")
ENDED_WELL = ("--field-selector=status.phase=Succeeded",)


@pytest.mark.parametrize(
    ("words", "attempts"), [(ONCE, 3), (WATCHED, 3), (ENDED_WELL + WATCHED, 1)], ids=["once", "watched", "ended well"]
)
def test_what_kubectl_prints_is_a_trace(rig: Rig, words: tuple[str, ...], attempts: int) -> None:
    printed = rig.plane.kubectl(f"--namespace={rig.namespace}", "get", "lsj", "--output=json", *words)
    arrivals = list(read(printed.stdout.splitlines(keepends=True)))

    assert 2 == len(rig.status("failed")["history"])
    assert ["sleep"] * attempts == [one.handler for one in arrivals]
    assert 0 == arrivals[0].at
    assert 0.5 <= max(one.seconds for one in arrivals) < 5
    assert all(one.at < 30 for one in arrivals)
