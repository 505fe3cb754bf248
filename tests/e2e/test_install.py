"""The chart with its defaults on a real node, in a namespace that enforces `restricted`."""

from e2e.images import ROOT
from e2e.release import Release

EXAMPLES = ROOT / "manifests/examples"


def test_helm_test_succeeds(release: Release) -> None:
    done = release.helm("test", release.name)

    assert done.returncode == 0, done.stdout + done.stderr + release.story()
    assert done.stdout.count("Phase:          Succeeded") == 3


def test_the_first_job_of_the_readme_finishes(release: Release) -> None:
    release.kubectl("apply", f"--filename={EXAMPLES}/hello.yaml")
    release.kubectl("wait", "--for=condition=Finished", "lsj/hello", "--timeout=60s")

    status = release.job("hello")["status"]
    assert ("Succeeded", "Hello, Kubernetes") == (status["phase"], status["result"])
