"""The body of a change to a queue's policy: the policy's own fields, each of which may be absent or null."""

from typing import Annotated, Any

from pydantic import Field, create_model

from longshore.job.limits import QueuePolicy
from longshore.job.spec import Frozen


def _optional(model: type[Frozen]) -> dict[str, Any]:
    return {
        name: (
            (Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation) | None,  # type: ignore[operator]  # made at run time
            Field(default=None, description=field.description),
        )
        for name, field in model.model_fields.items()
    }


QueueChanges: type[Frozen] = create_model(
    "QueueChanges",
    __base__=Frozen,
    __doc__="Fields to lay over a queue's policy; null gives a field back to the configuration.",
    **_optional(QueuePolicy),
)
