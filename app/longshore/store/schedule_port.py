"""The verbs on schedules that the api needs of a store, whether they lie in SQLite or in etcd.

A schedule crosses the port as a plain document: name, uid, namespace, labels, createdAt, origin, spec, status.
"""

from collections.abc import Mapping
from typing import Protocol

from longshore.job.preconditions import NONE, Precondition
from longshore.store.port import JobDoc, Key

ScheduleDoc = dict[str, object]


class ScheduleStore(Protocol):
    """The schedules of one namespace. What changes one raises NotFound, PreconditionFailed, and Conflict for a declared one."""

    def schedules(self, *, cursor: str = "", limit: int = 100) -> tuple[list[ScheduleDoc], str]:
        """One page by name, and the cursor of the next, empty on the last page; raises InvalidRequest for a wrong cursor."""
        ...

    def schedule(self, name: str) -> ScheduleDoc:
        """The schedule; raises NotFound."""
        ...

    def put_schedule(
        self, name: str, labels: Mapping[str, str], spec: bytes, *, replace: bool, only: Precondition = NONE
    ) -> tuple[ScheduleDoc, bool]:
        """Keep the schedule durably; with whether there was none of that name.

        ``spec`` is JSON of the fields that were set. Without ``replace`` another one of the name raises Conflict. May raise
        UnknownQueue, QuotaExceeded.
        """
        ...

    def delete_schedule(self, name: str, *, only: Precondition = NONE) -> None:
        """Remove the schedule and its jobs."""
        ...

    def pause_schedule(self, name: str, *, on: bool, only: Precondition = NONE) -> ScheduleDoc:
        """Create no more jobs, or go on; of a declared one too."""
        ...

    def trigger_schedule(self, name: str, id: str, *, key: Key | None = None, only: Precondition = NONE) -> JobDoc:
        """A job of the schedule now, called ``id`` unless the key has led to another."""
        ...
