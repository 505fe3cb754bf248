"""Operator, api and workers that speak TLS with each other: who is believed, and certificates that are renewed meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import eventually
from kube.api_service import ApiService
from kube.certificates import Authority
from kube.control_plane import ControlPlane
from kube.marks import APPS, Marks
from kube.operators import Rig
from kube.shared_rig import shared_rig
from longshore.tls import operator_name, worker_name
from mounted_secret import MountedSecret, shown, trusting
from worker_service import Worker


class Release:
    """An operator, a worker and an api, each with a Secret of its own from one authority."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder = rig, folder
        self.authority = Authority(folder / "authority")
        self.names = {
            "operator": operator_name(rig.namespace),
            "worker": worker_name(rig.namespace),
            "api": "localhost",
        }
        self.secrets = {role: MountedSecret(folder / f"secret-of-{role}") for role in self.names}
        self.renew(self.authority)
        (folder / "operator-token").write_text("word\n")
        self.worker = rig.worker(apps=APPS, slots=4, tls_dir=self.secrets["worker"].folder)
        self.leader = rig.leader(tls_dir=self.secrets["operator"].folder, token_file=folder / "operator-token")
        self.api = ApiService(
            folder / "api", rig.plane, rig.namespace, apps=APPS, tls_dir=self.secrets["api"].folder,
            worker_tokens_file=self.worker.tokens, operator_token_file=folder / "operator-token",
        )  # fmt: skip
        self.api.start()

    def renew(self, authority: Authority) -> None:
        """What cert-manager does when certificates are due, or their issuer is another."""
        for role, name in self.names.items():
            self.secrets[role].issue(authority, name)

    def trust(self, *authorities: Authority) -> None:
        """What clients believe from now on."""
        bundle = b"".join(authority.certificate.read_bytes() for authority in authorities)
        for secret in self.secrets.values():
            secret.update(ca_crt=bundle)

    @contextmanager
    def other_worker(self, name: str, **settings: object) -> Iterator[Worker]:
        """One more worker, which is no pod yet."""
        worker = self.rig.worker(name, pod=False, ready=False, apps=APPS, access_log="all", **settings)
        try:
            worker.wait_ready()  # the test itself asks nothing of its attempts
            yield worker
        finally:
            self.rig.kubelet.delete(name)
            worker.end()

    def refusal(self, name: str, worker: Worker) -> str:
        """What the operator says of its pod; fails when the worker was asked anything."""
        self.rig.pod(name)

        def said() -> list[str]:
            return [one["detail"] for one in self.leader.lines("worker_unreachable") if one["worker"] == name]

        eventually(said, what="the operator's warning")
        assert "/v1/attempts" not in worker.log.read_text()
        return str(said()[0])


@pytest.fixture(scope="module")
def release(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("tls")
    with shared_rig(control_plane, folder) as rig:
        release = Release(rig, folder)
        yield release
        release.api.end()


def test_a_job_runs_and_is_read_over_tls(release: Release, marks: Marks) -> None:
    name = release.api.submit("marks", args=marks.args)["id"]
    eventually(lambda: marks.lines(), what="its start")
    release.rig.phase(name, "Running")
    live = release.api.ask("GET", f"/v1/jobs/{name}/logs?wait=0")
    workers = release.api.ask("GET", "/v1/workers")
    marks.open()

    assert "Succeeded" == release.rig.end_of(name)["phase"]
    assert 200 == live.status, live.body
    assert ["worker-0"] == [one["name"] for one in workers.json()["items"]], workers.body


Wrong = Callable[[Release, MountedSecret], Any]
WRONG: dict[str, Wrong] = {
    "another-authority": lambda release, secret: secret.issue(
        Authority(release.folder / "another"), release.names["worker"]
    ),
    "another-namespace": lambda release, secret: secret.issue(release.authority, worker_name("elsewhere")),
    "the-operators-name": lambda release, secret: secret.issue(release.authority, release.names["operator"]),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_worker_with_another_certificate_is_sent_nothing(release: Release, what: str) -> None:
    secret = MountedSecret(release.folder / what)
    WRONG[what](release, secret)
    with release.other_worker(what, tls_dir=secret.folder) as worker:
        assert "certificate verify failed" in release.refusal(what, worker).lower()


def test_a_worker_without_tls_is_sent_nothing(release: Release) -> None:
    with release.other_worker("plain") as worker:
        assert "ssl" in release.refusal("plain", worker).lower()


def test_the_operator_shows_a_renewed_certificate(release: Release) -> None:
    serial = release.secrets["operator"].issue(release.authority, release.names["operator"])

    assert serial == shown(release.leader.lines("listening")[-1]["port"], trusting(release.authority))
    assert 200 == release.leader.ask("/readyz")[0]


def test_certificates_and_their_authority_are_replaced_while_jobs_run(release: Release, marks: Marks) -> None:
    names = [release.api.submit("marks", args=marks.args)["id"] for _ in range(3)]
    eventually(lambda: len(marks.lines()) == 3, what="their start")
    new = Authority(release.folder / "new-authority")
    release.trust(release.authority, new)
    release.renew(new)
    release.trust(release.authority, new)
    assert shown(release.worker.port, trusting(new), release.worker.host)
    release.trust(new)
    later = release.api.submit("echo")["id"]
    assert "Succeeded" == release.rig.end_of(later)["phase"]
    assert 200 == release.api.ask("GET", "/v1/workers").status
    marks.open()

    for name in names:
        status = release.rig.end_of(name)
        assert ("Succeeded", 1) == (status["phase"], status["attempts"]), status
    assert not [one for one in release.leader.lines("worker_unreachable") if one["worker"] == "worker-0"]


def test_the_api_asks_nobody_whose_authority_it_does_not_know(release: Release) -> None:
    assert 200 == release.api.ask("GET", "/v1/workers").status
    other = Authority(release.folder / "other-authority")
    release.secrets["api"].update(ca_crt=other.certificate.read_bytes())

    answer = release.api.ask("GET", "/v1/workers")
    assert "does not answer (SSLError)" in answer.body.decode(), (answer.status, answer.body)
