"""``current_longshore``: jobs from an application's own code, by the public client.

In a view the client calls the same application in this process, as whoever called the view: the same parsing, limits and
rights, and no network. In a handler there is no caller, and the slot holds no key of anybody: the client goes
over HTTP to ``LONGSHORE_URL`` with ``LONGSHORE_TOKEN``, else to the service that runs the handler.
"""

import os
import sys
from functools import cache

from longshore.client import Client, ClientError, Job
from longshore.current_url import JOBS_URL
from longshore.handlers import Context


def current_longshore() -> Client:
    """A client for the service that this code runs in; raises LookupError where neither a view nor a handler runs.

    In a view it has the rights of the view's caller. In a handler it has those of ``LONGSHORE_TOKEN``, or none.
    """
    if (flask := sys.modules.get("flask")) is not None and flask.has_request_context():
        from longshore.api.in_process import of_request

        return of_request()
    try:
        Context.current()
    except LookupError:
        raise LookupError(
            "no request is answered and no job runs here; longshore.client.Client names its service"
        ) from None
    url = os.environ.get("LONGSHORE_URL") or os.environ.get(JOBS_URL, "")
    if not url:
        raise LookupError(
            "this worker knows no api: set LONGSHORE_URL, and LONGSHORE_TOKEN where the api asks for one, on the pool"
        )
    return _of_handler(url, os.environ.get("LONGSHORE_TOKEN", ""))


class HandlerClient(Client):
    """The client of a handler, which holds a slot while it waits."""

    def wait(self, id: str, timeout: float | None = None) -> Job:
        """The job once it ended; raises TimeoutError.

        Without ``timeout`` until the attempt itself times out. Raises ClientError when that is never: when every
        slot had a handler that waits for a job, none of these jobs would start.
        """
        if timeout is None:
            timeout = Context.current().remaining_seconds
        if timeout is None:
            raise ClientError(
                "a handler that waits holds its slot, and when all slots wait for jobs none of them starts: "
                "say wait(id, timeout=…), or give the handler timeout_seconds"
            )
        return super().wait(id, timeout)


@cache
def _of_handler(url: str, token: str) -> HandlerClient:
    """One for each process, so that its connection is kept from job to job."""
    return HandlerClient(url, token=token)
