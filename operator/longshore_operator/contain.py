"""One object never ends the operator: what goes wrong over one belongs to that one, is counted, and is logged with its name.

``with one_object(kind, namespace, name): …`` stands wherever a step is taken for a single object: each event of a watch, each
object of a list, each entry of a worker's feed, each delivery, tick and look at a pool. What ends the process are tasks that
break outside of any object (``tasks.spawn``). The API server being away is nobody's fault and goes through.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from prometheus_client import Counter

from longshore_operator.errors import KubeError, KubeUnavailable

MAX_DETAIL: Final = 500  # of an error's text: it may quote what somebody wrote

CONTAINED: Final = Counter(
    "longshore_operator_contained_errors",
    "Objects whose handling broke, each time that it did.",
    ["kind"],
    registry=None,
)
log = logging.getLogger("longshore.operator.contain")


@contextmanager
def one_object(kind: str, namespace: str, name: str, refuse: Callable[[str], object] | None = None) -> Iterator[None]:
    """Contain whatever is raised inside, but for KubeError and KubeUnavailable, which callers answer by trying again.

    ``refuse`` is told what went wrong, so that the object is marked: a job ends with InvalidSpec, a resource gets its condition.
    """
    try:
        yield
    except (KubeError, KubeUnavailable):
        raise
    except Exception as error:
        detail = _noted(kind, namespace, name, error)
        if refuse is not None:
            try:
                refuse(detail)
            except Exception as again:
                _noted(kind, namespace, name, again)


def named(resource: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name of an object of the API server, whatever else is wrong with it."""
    meta = resource.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    return str(meta.get("namespace") or ""), str(meta.get("name") or meta.get("uid") or "?")


def _noted(kind: str, namespace: str, name: str, error: Exception) -> str:
    CONTAINED.labels(kind).inc()
    detail = f"{type(error).__name__}: {error}"[:MAX_DETAIL]
    log.error("%s %s/%s: %s", kind, namespace, name, detail, exc_info=error,
              extra={"action": "object_contained", "kind": kind, "namespace": namespace, "object": name})  # fmt: skip
    return detail
