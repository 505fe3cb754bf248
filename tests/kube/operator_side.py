"""What the tests of the operator's parts share: a client, our resource definitions, objects."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.control_plane import ControlPlane
from longshore_operator.kube.client import KubeClient, path_of
from longshore_operator.kube.config import load

Json = dict[str, Any]
CRDS = Path(__file__).parents[2] / "manifests/crds"


@asynccontextmanager
async def client_of(
    plane: ControlPlane,
    kubeconfig: Path | None = None,
    counted: Callable[[str, str], None] = lambda _kind, _result: None,
) -> AsyncIterator[KubeClient]:
    """An open client, as admin unless a kubeconfig says otherwise."""
    client = KubeClient(load(str(kubeconfig or plane.admin)), counted)
    await client.open()
    try:
        yield client
    finally:
        await client.close()
        await asyncio.sleep(
            0.1
        )  # aiohttp closes TLS connections a few turns later; python warns of those that are left


async def until(look: Callable[[], object], *, seconds: float = 30.0, what: str = "it") -> None:
    """Poll until it is true; fails when that takes too long."""
    limit = time.monotonic() + seconds
    while not look():
        if time.monotonic() > limit:
            pytest.fail(f"{what} did not happen within {seconds:g} seconds")
        await asyncio.sleep(0.02)


def install_crds(plane: ControlPlane) -> None:
    """Ours, and wait until they are served; nothing happens when they are there."""
    for path in sorted(CRDS.glob("*.yaml")):
        document = yaml.safe_load(path.read_text())
        status, answer = plane.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", document)
        assert status in (201, 409), answer
    limit = time.monotonic() + 30
    while any(plane.request("GET", path_of(plural))[0] != 200 for plural in ("jobs", "queues", "schedules")):
        assert time.monotonic() < limit, "the resource definitions are not served"
        time.sleep(0.05)


def make_job(name: str, *, labels: Json | None = None, **spec: object) -> Json:
    """A Job as somebody would apply it."""
    return {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Job",
        "metadata": {"name": name, "labels": labels or {}}, "spec": {"handler": "echo"} | spec,
    }  # fmt: skip
