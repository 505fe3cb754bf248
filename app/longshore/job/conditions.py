"""The condition of Queue and Schedule resources: whether Longshore can work with what they say."""

from typing import Annotated, Literal

from pydantic import Field

from longshore.job.spec import INTEGRAL, Frozen, Time


class ReadyCondition(Frozen):
    """Whether a resource is in force. The API server cannot judge all of it: a cron field, the name of a time zone."""

    type: Literal["Ready"]
    """Always `Ready`."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is in force."""
    observed_generation: Annotated[int, Field(ge=0), INTEGRAL] = 0
    """Generation of the resource that this was said of."""
    reason: Annotated[str, Field(max_length=200)] = ""
    """Why, in one word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, in a sentence."""
    last_transition_time: Time
    """When it last turned."""


Conditions = Annotated[tuple[ReadyCondition, ...], Field(max_length=1)]
