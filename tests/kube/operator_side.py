"""What the tests of the operator's parts share: a client, our resource definitions, objects."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from longshore_operator.kube.client import KubeClient
from longshore_operator.kube.config import load

Json = dict[str, Any]


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


def make_job(name: str, *, labels: Json | None = None, **spec: object) -> Json:
    """A Job as somebody would apply it."""
    return {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Job",
        "metadata": {"name": name, "labels": labels or {}}, "spec": {"handler": "echo"} | spec,
    }  # fmt: skip
