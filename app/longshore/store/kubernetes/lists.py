"""Lists of jobs and their counts: filters as selectors, pages as the API server cuts them."""

import re

from longshore.errors import Gone, InvalidRequest
from longshore.job.status import Phase, Reason
from longshore.store.kubernetes import documents
from longshore.store.kubernetes.client import Json, KubeClient, Target
from longshore.store.port import Page, Query

PHASES = tuple(phase.value for phase in Phase)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
COUNT_PAGE = 1000
LABEL = re.compile(r"[-A-Za-z0-9_./]*")


def page(client: KubeClient, target: Target, *, limit: int, cursor: str, **selectors: str) -> tuple[list[Json], str]:
    """One page of resources and the cursor of the next one, empty on the last; raises InvalidRequest for a bad cursor."""
    try:
        answer = client.get(target, list_=True, limit=limit, **selectors, **{"continue": cursor})
    except (InvalidRequest, Gone):
        if not cursor:
            raise
        detail = "is no cursor, or older than five minutes; begin again without one"
        raise InvalidRequest(f"cursor: {detail}", errors=[{"parameter": "cursor", "detail": detail}]) from None
    return answer["items"], answer["metadata"].get("continue") or ""


def find(client: KubeClient, jobs: Target, query: Query) -> Page:
    """By name, which is by time where names were generated: an API server has no other order."""
    found, following = page(client, jobs, limit=query.limit, cursor=query.cursor, **_selectors(query))
    return Page([documents.job_doc(job) for job in found], following)


def count(client: KubeClient, jobs: Target, query: Query) -> dict[str, int]:
    """How many match, by phase."""
    counts: dict[str, int] = {}
    # A table has a few words of each job, where a list has all of it.
    for table in client.pages(jobs, accept=TABLE, limit=COUNT_PAGE, includeObject="None", **_selectors(query)):
        place = [column["name"] for column in table["columnDefinitions"]].index("Phase")
        for row in table["rows"] or ():
            phase = row["cells"][place]
            counts[phase] = counts.get(phase, 0) + 1
    return counts


def failed_dependents(client: KubeClient, jobs: Target) -> dict[str, list[str]]:
    """Jobs that failed because of one that they wait for, with the names that they wait for."""
    found: dict[str, list[str]] = {}
    for page in client.pages(jobs, limit=COUNT_PAGE, fieldSelector=f"status.phase={Phase.FAILED.value}"):
        for job in page["items"]:
            if job["status"].get("reason") == Reason.DEPENDENCY_FAILED:
                found[job["metadata"]["name"]] = list(job["spec"].get("after") or ())
    return found


def _selectors(query: Query) -> dict[str, str]:
    fields = [
        f"{path}={_escaped(value)}"
        for path, value in (("spec.queue", query.queue), ("spec.handler", query.handler))
        if value
    ]
    if query.phases:  # selectors are all of, never any of: so none of the others
        fields += [f"status.phase!={phase}" for phase in PHASES if phase not in query.phases]
    for text in (*query.labels, *query.labels.values()):
        if not LABEL.fullmatch(text):  # it would be another selector
            raise InvalidRequest(f"label: {text!r} is in no label", errors=[
                {"parameter": "label", "detail": "should be key=value of a label"}])  # fmt: skip
    labels = ",".join(f"{key}={value}" for key, value in query.labels.items())
    return {"fieldSelector": ",".join(fields), "labelSelector": labels}


def _escaped(text: str) -> str:
    """As the value of a field selector."""
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
