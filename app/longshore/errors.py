"""The errors that rooms share. What one alone raises stands there: the api's own are in ``api/``.

* LongshoreError
  x RequestError            something is wrong with what was asked (HTTP 4xx)
    + InvalidRequest        400/422: a field is wrong; ``errors`` names each
      - UnknownHandler      no such handler; near matches in ``errors``
      - UnknownQueue        no such queue
    + KeyReused             422: this idempotency key belongs to another request
    + NotFound              404: there never was such a job
    + Gone                  410: there was, and it was removed
    + Conflict              409: the job is in no state for this
    + PreconditionFailed    412: it is not in the state that If-Match or If-None-Match asks for
    + QuotaExceeded         429: the queue takes no more waiting jobs
    + Unauthenticated       401
    + Forbidden             403
  x Unavailable             nothing wrong with the request; try again (HTTP 503)
    + QueueFull             the service holds as many jobs as it may
    + Draining              the service is going away
    + StoreUnavailable      the disk does not take writes
    + EngineUnavailable     the engine does not answer
  x StartError              the service cannot start
    + SettingsError         a setting is wrong; names it and says what is allowed
    + StoreCorrupt          the database file is no database of ours
    + StoreLocked           another engine has the database open
    + StoreUnsupported      the database lies where SQLite cannot keep its promises
    + AppError              a module of LONGSHORE_APPS does not import
      - AppSettingsError    a setting of an application is wrong; names both, and where it comes from
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class LongshoreError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        """What happened, in a sentence for the person who asked."""
        return str(self.args[0])


class RequestError(LongshoreError):
    """The request cannot be done."""

    code = "bad-request"
    status = 400


class InvalidRequest(RequestError):
    """The request has a field that is wrong."""

    code = "invalid"
    status = 422

    def __init__(self, message: str | None = None, *, errors: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        # Each: {"pointer": JSON pointer into the body, "detail": what is wrong there}.
        self.errors = [dict(error) for error in errors]


class UnknownHandler(InvalidRequest):
    """There is no handler of that name."""

    code = "unknown-handler"


class UnknownQueue(InvalidRequest):
    """There is no queue of that name."""

    code = "unknown-queue"


class KeyReused(RequestError):
    """This idempotency key was used for another request."""

    code = "idempotency-key-reused"
    status = 422


class NotFound(RequestError):
    """There is no such job."""

    code = "not-found"
    status = 404


class Gone(RequestError):
    """The job was removed."""

    code = "gone"
    status = 410


class Conflict(RequestError):
    """The job is in no state for this."""

    code = "conflict"
    status = 409


class PreconditionFailed(RequestError):
    """It has changed since."""

    code = "precondition-failed"
    status = 412


class QuotaExceeded(RequestError):
    """The queue takes no more waiting jobs."""

    code = "quota-exceeded"
    status = 429


class Unauthenticated(RequestError):
    """A valid bearer token is needed."""

    code = "unauthenticated"
    status = 401


class Forbidden(RequestError):
    """This is not allowed."""

    code = "forbidden"
    status = 403


class Unavailable(LongshoreError):
    """The service cannot take this now; try again."""

    code = "unavailable"
    status = 503


class QueueFull(Unavailable):
    """The service holds as many jobs as it may."""

    code = "queue-full"


class Draining(Unavailable):
    """The service is draining and takes no new jobs."""

    code = "draining"


class StoreUnavailable(Unavailable):
    """The store does not take writes now; nothing was kept."""

    code = "store-unavailable"


class EngineUnavailable(Unavailable):
    """The engine does not answer now."""

    code = "engine-unavailable"


class StartError(LongshoreError):
    """The service cannot start."""

    code = "start"


class SettingsError(StartError):
    """A setting is wrong."""

    code = "settings"


class StoreCorrupt(StartError):
    """The database file is damaged or is no Longshore database; it was left untouched."""

    code = "store-corrupt"


class StoreLocked(StartError):
    """Another engine has this database open."""

    code = "store-locked"


class StoreUnsupported(StartError):
    """The database lies on a file system where SQLite cannot keep its promises."""

    code = "store-unsupported"


class AppError(StartError):
    """A module named in LONGSHORE_APPS does not import."""

    code = "app"


class AppSettingsError(AppError):
    """A setting of an application is wrong."""

    code = "app-settings"


def _tree(root: type[LongshoreError]) -> dict[str, type[LongshoreError]]:
    found = {root.code: root}
    for kind in root.__subclasses__():
        found |= _tree(kind)
    return found


BY_CODE = _tree(LongshoreError)


def to_wire(error: LongshoreError) -> dict[str, object]:
    """The error as it crosses the engine's socket: code, message, and what goes with it."""
    wire: dict[str, object] = {"code": error.code, "message": error.message}
    if error.retry_after is not None:
        wire["retry_after"] = error.retry_after
    if isinstance(error, InvalidRequest) and error.errors:
        wire["errors"] = error.errors
    return wire


def from_wire(wire: Mapping[str, object]) -> LongshoreError:
    """The error that ``to_wire`` wrote; an unknown code becomes a plain ``LongshoreError``."""
    kind = BY_CODE.get(str(wire.get("code")), LongshoreError)
    message = str(wire.get("message", ""))
    errors = wire.get("errors")
    if issubclass(kind, InvalidRequest):
        return kind(message, errors=errors if isinstance(errors, list) else ())
    retry_after = wire.get("retry_after")
    return kind(message, retry_after=retry_after if isinstance(retry_after, int) else None)
