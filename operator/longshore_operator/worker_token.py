"""Fill the chart's Secret between operator, api and workers, once.

``python -m longshore_operator.worker_token SECRET TOKENS OPERATOR ROOT`` names the Secret and its keys: the token of the
workers of its namespace, the token that the api asks the operator with, and the operator's root secret, from which the
first one is derived. A key that is there is left alone. The pod's account may ``get`` and ``patch`` this Secret alone.
"""

import asyncio
import base64
import secrets
import sys
from dataclasses import astuple, dataclass

from longshore_operator.errors import KubeError, KubeUnavailable, OperatorError
from longshore_operator.journal import Journal
from longshore_operator.kube import config
from longshore_operator.kube.client import JSON_PATCH, KubeClient, path_of
from longshore_operator.pool_tokens import derive

TOKEN_BYTES = 32
TRIES, PAUSE_SECONDS = 30, 2.0  # rights and the Secret may be made a moment after us


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of the Secret's keys."""

    tokens: str
    operator: str
    root: str


async def fill(client: KubeClient, namespace: str, secret: str, keys: Keys) -> bool:
    """Whether something was put in now; a key that is there is left alone. Raises KubeError and KubeUnavailable."""
    path = path_of("secrets", namespace, secret, api="/api/v1")
    found = await client.request("GET", path)
    data = found.get("data") or {}
    missing = [key for key in astuple(keys) if not data.get(key)]
    if not missing:
        return False
    root = _decoded(data.get(keys.root)) or secrets.token_urlsafe(TOKEN_BYTES)
    values = {
        keys.root: root,
        keys.tokens: derive(root, namespace, 1),
        keys.operator: secrets.token_urlsafe(TOKEN_BYTES),
    }
    made = {key: base64.b64encode(values[key].encode()).decode() for key in missing}
    patch = [
        # Whoever wrote in between wins: a second token would part the pods that have started from those that will.
        {"op": "test", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/data", "value": {**data, **made}},
    ]
    await client.request("PATCH", path, patch, content_type=JSON_PATCH)
    return True


def _decoded(value: str | None) -> str:
    words = base64.b64decode(value or "").decode("ascii", "replace").split()
    return words[0] if words else ""


async def run(secret: str, keys: Keys, *, kubeconfig: str = "", tries: int = TRIES) -> None:
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
                journal("token_made" if filled else "token_there", secret=secret, keys=list(astuple(keys)))
                return
    finally:
        await client.close()


def main() -> None:
    """The Secret and the names of its three keys."""
    secret, tokens, operator, root = sys.argv[1:]
    try:
        asyncio.run(run(secret, Keys(tokens, operator, root)))
    except OperatorError as error:
        sys.stderr.write(f"worker_token: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
