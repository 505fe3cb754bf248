"""Put random tokens into a Secret that has none, once: the chart's Secret between operator, api and workers.

``python -m longshore_operator.worker_token SECRET KEY…`` as a pod's account, which may ``get`` and ``patch`` this Secret alone.
"""

import asyncio
import base64
import secrets
import sys
from collections.abc import Sequence

from longshore_operator.errors import KubeError, KubeUnavailable, OperatorError
from longshore_operator.journal import Journal
from longshore_operator.kube import config
from longshore_operator.kube.client import JSON_PATCH, KubeClient, path_of

TOKEN_BYTES = 32
TRIES, PAUSE_SECONDS = 30, 2.0  # rights and the Secret may be made a moment after us


async def fill(client: KubeClient, namespace: str, secret: str, keys: Sequence[str]) -> bool:
    """Whether something was put in now; a key that is there is left alone. Raises KubeError and KubeUnavailable."""
    path = path_of("secrets", namespace, secret, api="/api/v1")
    found = await client.request("GET", path)
    data = found.get("data") or {}
    missing = [key for key in keys if not data.get(key)]
    if not missing:
        return False
    made = {key: base64.b64encode(secrets.token_urlsafe(TOKEN_BYTES).encode()).decode() for key in missing}
    patch = [
        # Whoever wrote in between wins: a second token would part the pods that have started from those that will.
        {"op": "test", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/data", "value": {**data, **made}},
    ]
    await client.request("PATCH", path, patch, content_type=JSON_PATCH)
    return True


async def run(secret: str, keys: Sequence[str], *, kubeconfig: str = "", tries: int = TRIES) -> None:
    """Try until it is there; raises KubeError or KubeUnavailable after the last try."""
    journal = Journal()
    where = config.load(kubeconfig)
    client = KubeClient(where)
    await client.open()
    try:
        for left in reversed(range(tries)):
            try:
                filled = await fill(client, where.namespace, secret, keys)
            except (KubeError, KubeUnavailable) as error:
                journal("token_not_made", level="warning", detail=str(error), tries_left=left)
                if not left:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                journal("token_made" if filled else "token_there", secret=secret, keys=list(keys))
                return
    finally:
        await client.close()


def main() -> None:
    """The Secret and the keys."""
    secret, *keys = sys.argv[1:]
    try:
        asyncio.run(run(secret, keys))
    except OperatorError as error:
        sys.stderr.write(f"worker_token: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
