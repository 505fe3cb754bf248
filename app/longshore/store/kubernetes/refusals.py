"""What an API server refuses, as the project's own errors; what it names as fields, as JSON pointers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from longshore.errors import (
    Conflict,
    Forbidden,
    Gone,
    InvalidRequest,
    LongshoreError,
    NotFound,
    PreconditionFailed,
    QuotaExceeded,
    StoreUnavailable,
)
from longshore.job.preconditions import Precondition

RETRY_SECONDS = 1
Status = Mapping[str, Any]


class AlreadyExists(Conflict):
    """There is an object of this name."""


class Changed(Conflict):
    """The object has changed since it was read."""


def away(why: object) -> StoreUnavailable:
    """Nobody answered, or not in time: what was asked for may have happened or not."""
    text = f"the API server of the cluster does not answer: {why}; send the request again under the same name or key"
    return StoreUnavailable(text, retry_after=RETRY_SECONDS)


def refusal(
    code: int, status: Status, *, verb: str, resource: str, namespace: str, retry_after: int | None = None
) -> LongshoreError:
    """The error for an answer that is none of 2xx; ``status`` is the body, a Status object or empty."""
    message = str(status.get("message") or f"the API server answered {code}")
    if code == 403:
        return _forbidden(message, verb, resource, namespace)
    if code == 401:
        return StoreUnavailable("the API server does not accept this service's own credentials", retry_after=5)
    if code == 404:
        return _missing(status, message, resource)
    if code == 409:
        return AlreadyExists(message) if status.get("reason") == "AlreadyExists" else Changed(message)
    if code == 410:
        return Gone(message)
    # etcd refuses what is larger than 1.5 MiB, and the API server calls that its own fault.
    if code in (400, 413, 422) or (code == 500 and "request is too large" in message):
        causes = (status.get("details") or {}).get("causes") or ()
        errors = [{"pointer": pointer(str(cause.get("field", ""))), "detail": _detail(cause)} for cause in causes]
        return InvalidRequest(message, errors=errors)
    return StoreUnavailable(f"the API server cannot do this now ({code}): {message}",
                            retry_after=retry_after or RETRY_SECONDS)  # fmt: skip


def _forbidden(message: str, verb: str, resource: str, namespace: str) -> LongshoreError:
    if "exceeded quota" in message:
        return QuotaExceeded(message, retry_after=5)
    if "cannot " not in message:
        return Forbidden(message)  # an admission webhook's or policy's word about this object
    where = f"in the namespace {namespace}" if namespace else "in the cluster"
    return StoreUnavailable(f"this service's own account may not {verb} {resource} {where}; "
                            "an administrator has to grant it", retry_after=30)  # fmt: skip


def _missing(status: Status, message: str, resource: str) -> LongshoreError:
    details = status.get("details") or {}
    if not details.get("name"):
        return StoreUnavailable(f"the cluster does not know {resource}; are the resource definitions installed?",
                                retry_after=30)  # fmt: skip
    if details.get("kind") == "namespaces":
        detail = f"there is no namespace {details['name']}"
        return InvalidRequest(detail, errors=[{"parameter": "namespace", "detail": detail}])
    return NotFound(message)


def _detail(cause: Mapping[str, Any]) -> str:
    # "Invalid value: "object": exactly one of …": the rule's own words come last, after its kind and its type.
    text = str(cause.get("message", "is wrong"))
    head, found, tail = text.partition(": ")
    if found and head in ("Invalid value", "Required value", "Unsupported value", "Forbidden", "Too long"):
        _, quoted, rest = tail.partition('": ')
        return rest if quoted else tail
    return text


def pointer(field: str) -> str:
    """``spec.items[3].x`` as ``/spec/items/3/x``; a key in brackets may hold dots."""
    parts, rest = [""], field.removeprefix("<nil>")
    while rest:
        if rest[0] == "[":
            key, _, rest = rest[1:].partition("]")
        else:
            end = min((at for at in (rest.find("."), rest.find("[")) if at >= 0), default=len(rest))
            key, rest = rest[:end], rest[end:]
        rest = rest.removeprefix(".")
        parts.append(key.replace("~", "~0").replace("/", "~1"))
    return "/".join(parts)


@contextmanager
def overtaken(only: Precondition, what: str) -> Iterator[None]:
    """A write that somebody else overtook is a precondition that failed, where the caller has set one."""
    try:
        yield
    except Changed:
        if not only.of_a_state:
            raise
        raise PreconditionFailed(f"{what} has changed since; read it again") from None
