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


@pytest.mark.parametrize("words", [(), ("--watch", "--request-timeout=2s")], ids=["once", "watched"])
def test_what_kubectl_prints_is_a_trace(rig: Rig, words: tuple[str, ...]) -> None:
    printed = rig.plane.kubectl(f"--namespace={rig.namespace}", "get", "lsj", "--output=json", *words, check=False)
    arrivals = list(read(printed.stdout.splitlines(keepends=True)))
    attempts = rig.status("failed")["history"]

    assert ["sleep"] * 3 == [one.handler for one in arrivals]
    assert 2 == len(attempts)
    assert 0 == arrivals[0].at
    assert 0.5 <= max(one.seconds for one in arrivals) < 5
    assert all(one.at < 30 for one in arrivals)
