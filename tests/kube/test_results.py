"""Results that no status has room for: written by real workers, recorded by the operator, read and removed by the api."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kube.api_service import ApiService
from kube.control_plane import ControlPlane
from kube.operators import Rig
from kube.shared_rig import APPS, shared_rig
from longshore.store.kubernetes.client import KubeClient
from longshore.store.kubernetes.measures import Measures
from longshore.store.kubernetes.sweep import sweep
from longshore.store.results import ResultsFolder

Wait = Callable[..., Any]
LARGE = 20_000
TEXT = "x" * LARGE


class Site:
    """An operator, a worker and an api that share a results directory."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder = rig, folder / "results"
        self.folder.mkdir()
        self.worker = rig.worker(apps=APPS, slots=4, results_dir=str(self.folder))
        self.leader = rig.leader()
        self.api = ApiService(folder / "api", rig.plane, rig.namespace, apps=APPS, results_dir=str(self.folder),
                              worker_tokens_file=str(self.worker.tokens))  # fmt: skip
        self.api.start()

    def get(self, path: str) -> tuple[int, Any]:
        """What the api answers under a job."""
        answer = self.api.ask("GET", f"/v1/jobs/{path}")
        return answer.status, answer.json() if "json" in answer.headers["Content-Type"] else answer.body

    def large(self, name: str) -> Path:
        """A job with a large result that has ended; where that is."""
        self.rig.submit(name, "sized", args={"size": LARGE})
        return self.folder / str(self.rig.end_of(name)["resultRef"])


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("results")
    with shared_rig(control_plane, folder) as rig:
        site = Site(rig, folder)
        yield site
        site.api.end()


def test_a_large_result_reads_as_any_other(site: Site) -> None:
    answer = site.api.ask("POST", "/v1/jobs", {"handler": "sized", "args": {"size": LARGE}, "name": "large"},
                          headers={"Prefer": "wait=20"})  # fmt: skip
    status = site.rig.status("large")

    assert (200, TEXT) == (answer.status, answer.json()["status"]["result"])
    assert TEXT == site.get("large")[1]["status"]["result"]
    assert (200, TEXT) == site.get("large/result")
    assert "result" not in status
    uid = site.rig.job("large")["metadata"]["uid"]
    assert f"{site.rig.namespace}/{uid}/job.1.{site.worker.poll('').boot}.json" == status["resultRef"]
    listed = next(job for job in site.api.ask("GET", "/v1/jobs").json()["items"] if job["id"] == "large")
    assert ("result" in listed["status"], status["resultRef"]) == (False, listed["status"]["resultRef"])


def test_results_of_items_are_read_page_by_page(site: Site) -> None:
    items = [{"size": size} for size in (3, LARGE, 0)]
    site.rig.submit("sizes", "sized", items=items)
    assert "Succeeded" == site.rig.end_of("sizes")["phase"]

    found = site.get("sizes/items")[1]["items"]
    assert [(0, "xxx"), (1, TEXT), (2, "")] == [(item["index"], item["result"]) for item in found]
    page = site.get("sizes/items?limit=1&after=0")[1]
    assert ([TEXT], 1) == ([item["result"] for item in page["items"]], page["nextAfter"])


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("removed", Path.unlink, "is not there any more"),
        ("garbage", lambda path: path.write_text('{"a":'), "cannot be shown"),
        ("deep", lambda path: path.write_text("[" * 100_000), "cannot be shown"),
        ("huge", lambda path: path.write_text(json.dumps("x" * 2**20)), "more than 1048576 bytes"),
    ],
)
def test_a_file_that_was_spoilt_is_gone_with_the_reason(
    site: Site, name: str, spoil: Callable[[Path], object], said: str
) -> None:
    path = site.large(name)
    spoil(path)
    status, doc = site.get(name)
    gone, problem = site.get(f"{name}/result")

    assert (200, "Succeeded", False) == (status, doc["status"]["phase"], "result" in doc["status"])
    assert 410 == gone
    assert path.name in problem["detail"]
    assert said in problem["detail"]


def test_no_link_that_a_job_left_leads_the_api_out_of_the_directory(site: Site) -> None:
    secret = site.folder.parent / "secret.json"
    secret.write_text('"secret"')
    path = site.large("linked")
    path.unlink()
    path.symlink_to(secret)
    first = site.get("linked/result")
    path.unlink()
    (secret.parent / path.name).write_text('"secret"')
    path.parent.rmdir()
    path.parent.symlink_to(secret.parent)
    second = site.get("linked/result")

    assert [410, 410] == [first[0], second[0]]
    assert "secret" not in str((first, second))
    assert 200 == site.get("linked")[0]


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "that of another"])
def test_a_status_that_names_no_result_of_its_own_is_not_believed(site: Site, name: str) -> None:
    other = site.large("robbed") if name else None
    if name.startswith("that"):
        assert other is not None
        name = str(other.relative_to(site.folder))
    site.rig.submit("thief", startAfter="2099-01-01T00:00:00Z")
    site.api.record("thief", phase="Succeeded", resultRef=name, attempts=1)
    status, problem = site.get("thief/result")
    site.rig.plane.must("DELETE", f"{site.rig.path}/thief")
    if other is not None:
        site.rig.plane.must("DELETE", f"{site.rig.path}/robbed")

    assert (410, True) == (status, "not its own" in problem["detail"])


def test_results_go_with_their_job_and_only_with_it(site: Site, eventually: Wait) -> None:
    goes, stays = site.large("goes"), site.large("stays")
    foreign = site.folder / "another-namespace/0b3d5e6f-1111-4222-8333-444455556666"
    odd = goes.parent.parent / "not-a-uid"
    foreign.mkdir(parents=True)
    odd.mkdir()
    assert 204 == site.api.ask("DELETE", "/v1/jobs/goes").status
    site.api.stop()
    site.api.start()  # sweeps when it starts, and every ten minutes
    eventually(lambda: not goes.parent.exists(), what="the end of the results")

    assert all(path.exists() for path in (stays, foreign, odd))
    assert (200, TEXT) == site.get("stays/result")


def test_no_folder_that_a_job_made_up_ends_the_sweep(site: Site, tmp_path: Path) -> None:
    """Each would be part of a request, if it were taken for a namespace."""
    uid = "0b3d5e6f-1111-4222-8333-444455556666"
    spaces = ["default?watch=true", "default?", "..%2f..", "a#b", "Ab", "z" * 64, "\udcff", "nobodys"]
    for space in spaces:
        (tmp_path / space / uid).mkdir(parents=True)
    client = KubeClient(site.rig.plane.admin, Measures())

    assert 1 == sweep(client, ResultsFolder(tmp_path), "")
    assert spaces[:-1] == [space for space in spaces if (tmp_path / space / uid).exists()]


def test_an_api_without_the_directory_says_so(site: Site) -> None:
    path = site.large("elsewhere")
    site.api.stop()
    site.api.change(results_dir="")
    try:
        site.api.start()
        alone, problem = site.get("elsewhere/result")
        whole, doc = site.get("elsewhere")
    finally:
        site.api.stop()
        site.api.change(results_dir=str(site.folder))
        site.api.start()

    assert (410, 200, path.name) == (alone, whole, Path(doc["status"]["resultRef"]).name)
    assert "this service has no results directory" in problem["detail"]
    assert (200, TEXT) == site.get("elsewhere/result")


def test_output_outlives_its_worker(site: Site, eventually: Wait) -> None:
    """Last, because it ends the worker."""
    retry = {"initialSeconds": 0, "maxSeconds": 0}
    site.rig.submit("talks", "fail", args={"times": 1}, maxRetries=1, retry=retry)
    site.rig.submit("array-talks", "fail", items=[{"times": 0}, {"times": 1}], maxRetries=1, retry=retry)
    for name in ("talks", "array-talks"):
        assert "Succeeded" == site.rig.end_of(name)["phase"]
    eventually(lambda: len(list(site.folder.rglob("*.log"))) >= 4, what="the output")
    site.worker.end()
    site.rig.kubelet.delete("worker-0")

    assert (200, b"attempt 2 of talks\n") == site.get("talks/logs")
    first = site.get("talks/logs?attempt=1")[1]
    assert first.startswith(b"attempt 1 of talks\nTraceback (most recent call last):\n")
    assert first.endswith(b"Unlucky: as you wished\n")
    assert (200, b"of talks\n") == site.get("talks/logs?offset=-9")
    assert (200, True) == ((found := site.get("array-talks/logs?index=1"))[0], found[1].startswith(b"attempt "))
    assert 404 == site.get("talks/logs?attempt=3")[0], "it never was"
    assert 404 == site.get("array-talks/logs?index=9")[0]
