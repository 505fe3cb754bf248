"""Takes out of the results directory what belongs to jobs that are gone.

Every api process does so when it starts and every ten minutes; two at a time do no harm. The directory is looked at first and
the jobs are listed after that, so a folder whose job is not listed belongs to none. A directory belongs to one cluster.
"""

import logging
import random
import re
import threading

from longshore.errors import LongshoreError
from longshore.store.kubernetes.client import KubeClient, longshore
from longshore.store.results import Results

SECONDS = 600.0
PAGE = 500
NAMES_ALONE = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
# As an API server has them. Anything else is left alone: what a job has made up goes into no request.
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_log = logging.getLogger("longshore.results")


def start(client: KubeClient, results: Results, namespace: str) -> None:
    """Sweep from now on, in a thread that goes with the process; all namespaces for an empty name."""

    def run() -> None:
        while True:
            try:
                if removed := sweep(client, results, namespace):
                    _log.info("results of %d jobs that are gone were removed", removed)
            except LongshoreError as error:
                _log.warning("results were not swept: %s", error)
            except Exception:  # whatever it is: the next time is in ten minutes
                _log.exception("results were not swept")
            threading.Event().wait(SECONDS * random.uniform(0.9, 1.1))  # several processes need not meet

    threading.Thread(target=run, name="results-sweep", daemon=True).start()


def sweep(client: KubeClient, results: Results, namespace: str) -> int:
    """Remove what no job has any more; how many folders. Raises LongshoreError when jobs cannot be listed, OSError."""
    removed = 0
    for space in [namespace] if namespace else filter(NAMESPACE.fullmatch, results.names("")):
        try:
            there = {name for name in results.names(space) if UID.fullmatch(name)}
        except OSError:
            continue  # no folder, or not ours
        for uid in there - (_uids(client, space) if there else set()):
            try:
                results.remove(f"{space}/{uid}")
                removed += 1
            except OSError as error:
                _log.warning("the results of job %s/%s cannot be removed: %s", space, uid, error.strerror or error)
    return removed


def _uids(client: KubeClient, namespace: str) -> set[str]:
    """Of all jobs of a namespace, as they are now: without a resourceVersion nothing older is told."""
    found: set[str] = set()
    for page in client.pages(longshore("jobs", namespace), accept=NAMES_ALONE, limit=PAGE):
        found |= {item["metadata"]["uid"] for item in page["items"] or ()}  # null where there are none
    return found
