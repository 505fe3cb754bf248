"""A restore does not run everything again: jobs that are applied from a copy, and jobs that Velero makes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kube.operators import Rig
from longshore.errors import StoreCorrupt
from longshore.store.kubernetes.copies import connect, restore

Json = dict[str, Any]


def copy_of(rig: Rig, name: str) -> Json:
    """What `kubectl get -o json` says, but for the version, with which nothing can be made anew."""
    found: Json = json.loads(
        rig.plane.kubectl("get", "lsj", name, "-n", rig.namespace, "-o", "json", check=True).stdout
    )
    del found["metadata"]["resourceVersion"]
    return found


def apply(rig: Rig, *copies: Json) -> None:
    text = "\n---\n".join(json.dumps(one) for one in copies)
    rig.plane.kubectl("apply", "-f", "-", input=text, check=True)


def test_ended_jobs_of_a_copy_that_is_applied_do_not_run_again(rig: Rig) -> None:
    rig.leader()
    rig.worker()
    rig.submit("good")
    rig.submit("bad", "fail", args={"times": 9})
    rig.submit("again")
    ends = [rig.end_of(name)["phase"] for name in ("good", "bad", "again")]
    assert ["Succeeded", "Failed", "Succeeded"] == ends
    rig.patch("bad", redrive=1)
    rig.until(lambda: (now := rig.status("bad"))["redrives"] == 1 and now["phase"] == "Failed", "a second failure")
    copies = [copy_of(rig, name) for name in ("good", "bad", "again")]
    copies[2]["metadata"]["annotations"] = {"longshore.dev/run-restored": "true"}
    for one in copies:
        rig.plane.must("DELETE", f"{rig.path}/{one['metadata']['name']}", {})

    apply(rig, *copies)
    good, bad, again = (rig.end_of(name) for name in ("good", "bad", "again"))
    assert ("Cancelled", "Restored", 0) == (good["phase"], good["reason"], good["attempts"])
    assert ("Failed", "Restored", 0, 1) == (bad["phase"], bad["reason"], bad["attempts"], bad["redrives"])
    assert "it was restored from a copy in which it was Failed, so it does not run again" == bad["message"]
    assert ("Succeeded", 1) == (again["phase"], again["attempts"]), "with consent it runs"

    rig.patch("bad", redrive=2)
    rig.until(lambda: rig.status("bad")["attempts"] == 1, "the attempt of a failed one that is redriven")


def longshore(rig: Rig, *words: str) -> str:
    """What the command line prints."""
    command = [sys.executable, "-m", "longshore", *words, "--namespace", rig.namespace]
    environment = os.environ | {"KUBECONFIG": str(rig.plane.admin)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_a_copy_of_a_namespace_brings_back_how_its_jobs_ended(rig: Rig, tmp_path: Path) -> None:
    rig.leader()
    rig.worker()
    queues = rig.path.removesuffix("jobs") + "queues"
    rig.plane.must("POST", queues, {"apiVersion": "longshore.dev/v1alpha1", "kind": "Queue",
                                    "metadata": {"name": "slow"}, "spec": {"concurrency": 3}})  # fmt: skip
    rig.submit("good", args={"x": 1})
    rig.submit("bad", "fail", args={"times": 9})
    rig.submit("stopped", suspend=True)
    rig.patch("stopped", cancel=True)
    names = ("good", "bad", "stopped")
    before = {name: rig.end_of(name) for name in names}
    assert ["Succeeded", "Failed", "Cancelled"] == [before[name]["phase"] for name in names]
    rig.submit("input", suspend=True)
    rig.submit("output", after=["input", "good"])
    copy = tmp_path / "copy"

    assert f"1 queue(s), 0 schedule(s), 5 job(s) are in {copy}\n" == longshore(rig, "backup", str(copy))
    assert 0o600 == copy.stat().st_mode & 0o777
    rig.plane.must("DELETE", rig.path)
    rig.plane.must("DELETE", queues)
    begun = json.loads(next(line for line in copy.read_text().splitlines() if '"name":"good"' in line))
    begun["metadata"]["annotations"]["longshore.dev/restoring"] = "true"
    rig.plane.must("POST", rig.path, begun | {"apiVersion": "longshore.dev/v1alpha1"})  # by a restore that was cut off
    rig.submit("after-it")
    assert "Succeeded" == rig.end_of("after-it")["phase"]
    assert "Pending" == rig.status("good").get("phase", "Pending"), "it ran, though its status had yet to come"

    assert "1 queue(s), 0 schedule(s), 5 job(s) were made\n" == longshore(rig, "restore", str(copy))
    assert before == {name: rig.status(name) for name in names}
    assert [{}] * 3 == [rig.job(name)["metadata"].get("annotations", {}) for name in names]
    assert 3 == rig.plane.must("GET", f"{queues}/slow")["spec"]["concurrency"]
    rig.patch("input", suspend=False)
    assert ("Succeeded", 1) == tuple(rig.end_of("output")[name] for name in ("phase", "attempts"))
    assert longshore(rig, "restore", str(copy)).endswith("1 queue(s), 0 schedule(s), 5 job(s) were there already\n")
    rig.patch("bad", redrive=1)
    rig.until(lambda: rig.status("bad")["attempts"] > before["bad"]["attempts"], "the attempt of one that is redriven")


@pytest.mark.parametrize("text", ["", "{}", "[]", "no JSON", '{"copyOf":"longshore.dev/v1alpha1","version":2}',
                                  '{"copyOf":"longshore.dev/v1alpha1","version":1}\n{"kind":"Pod"}',
                                  '{"copyOf":"longshore.dev/v1alpha1","version":1}\n[]'])  # fmt: skip
def test_what_is_no_copy_of_a_namespace_makes_nothing(rig: Rig, tmp_path: Path, text: str) -> None:
    copy = tmp_path / "copy"
    copy.write_text(text)
    with pytest.raises(StoreCorrupt, match="line [012] is no"):
        restore(connect(rig.plane.admin), rig.namespace, copy)


PAGE = Path(__file__).parents[2] / "docs/backup.md"


def run_of_the_page(rig: Rig, word: str, folder: Path) -> None:
    """The block of the page in which the word is, in a shell."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = next(block for block in blocks if word in block).replace("NAMESPACE", rig.namespace)
    if word == "apply":  # between the two lines everything is lost
        lines = lines.replace("\nsed", f"\nkubectl delete lsj,lsq -n {rig.namespace} --all >/dev/null\nsed")
    path = f"{rig.plane.tools}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "KUBECONFIG": str(rig.plane.admin), "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_page_of_backups_restores_a_namespace(rig: Rig, tmp_path: Path) -> None:
    queue = {"apiVersion": "longshore.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "q"}, "spec": {"concurrency": 3}}  # fmt: skip
    queues = rig.path.replace("/jobs", "/queues")
    rig.plane.must("POST", queues, queue)
    rig.submit("ended")
    rig.submit("waits", startAfter="2099-01-01T00:00:00Z")
    rig.worker()
    rig.leader()
    rig.end_of("ended")
    run_of_the_page(rig, "apply", tmp_path)
    end = rig.end_of("ended")
    assert ("Cancelled", "Restored", 0) == (end["phase"], end["reason"], end["attempts"])
    assert "Pending" == rig.status("waits")["phase"]
    assert 3 == rig.plane.must("GET", f"{queues}/q")["spec"]["concurrency"]


@pytest.mark.parametrize("status", [None, "kept"], ids=["without its status", "with its status"])
def test_a_job_that_velero_restores_waits_for_consent(rig: Rig, status: str | None) -> None:
    rig.submit("job")
    worker, operator = rig.worker(), rig.leader()
    assert worker is not None
    first = rig.end_of("job")
    copy = copy_of(rig, "job")
    rig.plane.must("DELETE", f"{rig.path}/job", {})
    meta = {"name": "job", "labels": {"velero.io/restore-name": "r", "velero.io/backup-name": "b"}}
    rig.plane.must("POST", rig.path, copy | {"metadata": meta, "status": {}})
    rig.submit("other")
    rig.end_of("other")  # it came later, so the restored one was seen and not run
    assert "Pending" == rig.status("job")["phase"]
    if status:
        rig.plane.must("PATCH", f"{rig.path}/job/status", {"status": copy["status"]})
        assert first == rig.end_of("job")
        return
    run_of_the_page(rig, "annotate", rig.folder)
    assert ("Succeeded", 1) == ((end := rig.end_of("job"))["phase"], end["attempts"])
    assert operator.lines("object_contained") == []
