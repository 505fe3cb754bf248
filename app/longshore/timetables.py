"""Handlers that declare when they run: ``@handler(schedule="0 3 * * *", time_zone="Europe/Berlin")``."""

from collections.abc import Iterable

from pydantic import BaseModel, ValidationError

from longshore.job.cron import Cron
from longshore.job.patterns import DNS_SUBDOMAIN, matches
from longshore.job.schedule import zone
from longshore.job.schedule_rules import name_of


def check(handler: str, arguments: type[BaseModel], cron: str, time_zone: str, others: Iterable[str]) -> None:
    """Raise ValueError, which names the handler, for a schedule that cannot be kept.

    ``others`` are the names of the other handlers with a schedule.
    """
    try:
        Cron.parse(cron)
        zone(time_zone)
    except ValueError as error:
        raise ValueError(f"handler {handler!r}: schedule: {error}") from None
    name = name_of(handler)
    if not matches(DNS_SUBDOMAIN, name):
        raise ValueError(f"handler {handler!r}: schedule: {name!r} is no name of a schedule; rename the handler")
    for other in others:
        if name_of(other) == name:
            raise ValueError(f"handlers {handler!r} and {other!r} would both have the schedule {name}; rename one")
    try:
        arguments.model_validate({})
    except ValidationError as error:
        missing = ", ".join(str(found["loc"][0]) for found in error.errors() if found["loc"])
        raise ValueError(
            f"handler {handler!r}: schedule: its jobs have no arguments, and {missing} has no default that fits; "
            "[schedules] in the settings file can give arguments"
        ) from None
