"""The shapes of what events tell, for the OpenAPI document alone; see ``openapi_answers``.

The laptop's engine writes its events with the attempt that they are about. A cluster has no events of its own: the api
makes them out of how a Job's status changed, and tells that status. So most fields are ``NotRequired``.
"""

from typing import NotRequired

from typing_extensions import TypedDict  # pydantic asks for this one on Python 3.11

from longshore.api.openapi_answers import CONFIG
from longshore.job.status import Outcome, Phase


class AttemptEventData(TypedDict):
    """What an event of an attempt tells. A laptop names the attempt; a cluster tells the job's status as it was seen."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    attempt: NotRequired[int]
    """attempt is the number of the attempt; absent in a cluster."""
    index: NotRequired[int]
    """index is the item of an array job; absent for any other job and in a cluster."""
    worker: NotRequired[str]
    """worker is where the attempt runs; on a laptop, of `started`."""
    outcome: NotRequired[Outcome]
    """outcome is how the attempt ended; absent in a cluster and while it runs."""
    reason: NotRequired[str]
    """reason says why in one word."""
    phase: NotRequired[Phase]
    """phase is that of the job; in a cluster."""
    message: NotRequired[str]
    """message says why in a sentence; in a cluster."""
    attempts: NotRequired[int]
    """attempts is how many have been started; in a cluster."""


class JobEventData(TypedDict):
    """What an event of a whole job tells; on a laptop the reason of its end alone, in a cluster its status as it was seen."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    reason: NotRequired[str]
    """reason says why in one word."""
    phase: NotRequired[Phase]
    """phase is that of the job; in a cluster."""
    message: NotRequired[str]
    """message says why in a sentence; in a cluster."""
    attempts: NotRequired[int]
    """attempts is how many have been started; in a cluster."""


class ItemEventData(TypedDict):
    """What the end of an item of an array job tells; on a laptop alone."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    attempt: int
    """attempt is the number of the attempt."""
    index: int
    """index is the item of the array job."""
    outcome: Outcome
    """outcome is how the attempt ended."""


class ProgressEventData(TypedDict):
    """What a handler reported last; on a laptop alone, and in the stream of one job alone."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    report: int
    """report counts the job's reports."""
    percent: float
    """percent is from 0 to 100."""
    message: str
    """message says what the handler is doing."""


class CodeEventData(TypedDict):
    """What an attempt tells that runs the code before the last save; in development mode (`longshore serve --dev`) alone."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    attempt: int
    """attempt is the number of the attempt."""
    message: str
    """message says why the code that was saved does not start, with its traceback."""


EVENT_DATA: dict[str, type] = {
    "submitted": JobEventData, "started": AttemptEventData, "retrying": AttemptEventData,
    "item-succeeded": ItemEventData, "item-failed": ItemEventData, "item-cancelled": ItemEventData,
    "suspended": JobEventData, "resumed": JobEventData, "cancelling": JobEventData, "redriven": JobEventData,
    "succeeded": JobEventData, "failed": JobEventData, "cancelled": JobEventData, "progress": ProgressEventData,
    "code-outdated": CodeEventData,
}  # fmt: skip
"""Every type of event, with the shape of its ``data``."""
