"""What a job's ``after`` means: when the named jobs let it start, and in which order a chain is submitted and redriven.

One rule holds for a first run, a restart and a redrive, on a laptop and in a cluster. A named job that waits or runs is
waited for; so is a failed one that is being redriven. One that has failed or was cancelled lets nobody pass. One that is not
there lets pass only a job that has run before, because a job runs only after everything that it names has succeeded.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from longshore.job.status import Phase


class Prospect(StrEnum):
    """What one named job means for the job that waits for it."""

    MET = "met"  # it has succeeded
    WAITS = "waits"  # it waits or runs, or is about to again
    FAILED = "failed"  # it ended otherwise than well
    MISSING = "missing"  # there is no such job


def prospect(phase: Phase | None, *, redriving: bool = False, ran: bool = False) -> Prospect:
    """What a dependency in that phase (None: it is not there) means.

    ``redriving`` says that the dependency is failed and a redrive of it is asked for; ``ran`` that the dependent has had an
    attempt before.
    """
    if phase is None:
        return Prospect.MET if ran else Prospect.MISSING
    if phase is Phase.SUCCEEDED:
        return Prospect.MET
    if phase is Phase.FAILED and redriving:
        return Prospect.WAITS
    return Prospect.FAILED if phase.terminal else Prospect.WAITS


def obstruction(name: str, phase: Phase | None) -> str:
    """Why the job never will start, as its message has it."""
    if phase is None:
        return f"there is no job {name} to wait for"
    return f"job {name}, which has to succeed first, ended as {phase.value}"


def redrive_refusal(id: str, name: str, phase: Phase | None) -> str:
    """Why a job is not redriven, with the way out."""
    if phase is None:
        return f"job {id} waits for job {name}, which is not there; submit it anew without that name in `after`"
    if phase is Phase.CANCELLED:
        return f"job {id} waits for job {name}, which was cancelled and cannot be redriven; submit both anew"
    return f"job {id} waits for job {name}, which is {phase.value}; redrive {name} with its dependents instead"


def in_order(after: Mapping[str, Sequence[str]]) -> list[str]:
    """The jobs of ``after`` (name: names that have to succeed first), each behind those of them that it names.

    Jobs that need no other order keep theirs. Members of a cycle, and what waits for them, are left out.
    """
    waits = {name: {other for other in others if other in after} for name, others in after.items()}
    behind: dict[str, list[str]] = {}
    for name, others in waits.items():
        for other in others:
            behind.setdefault(other, []).append(name)
    found = [name for name, others in waits.items() if not others]
    for name in found:  # grows while it is read
        for next_ in behind.get(name, ()):
            waits[next_].discard(name)
            if not waits[next_]:
                found.append(next_)
    return found


def cycle(after: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """A job that waits for itself by way of others, and the name in its ``after`` that leads there; None without one."""
    left = {name: others for name, others in after.items() if name not in set(in_order(after))}
    if not left:
        return None
    name, seen = next(iter(left)), set()
    while name not in seen:  # everything that is left waits for something that is left
        seen.add(name)
        name, by = next(other for other in left[name] if other in left), name
    return by, name


def chain(first: str, after: Mapping[str, Sequence[str]]) -> list[str]:
    """Of the jobs in ``after``, those that wait for ``first`` directly or through others of them, in the order of ``in_order``."""
    reached = {first}
    ordered = [name for name in in_order(after) if name != first]
    for name in ordered:
        if reached.intersection(after[name]):
            reached.add(name)
    return [name for name in ordered if name in reached]


def obstructed(
    names: Iterable[str], phase_of: Callable[[str], tuple[Phase | None, bool]], *, ran: bool
) -> tuple[str, Phase | None] | None:
    """The first of the named jobs that lets nobody pass, with its phase; None when all have succeeded or are waited for.

    ``phase_of`` answers with the phase of a job and whether a redrive of it is asked for.
    """
    for name in names:
        phase, redriving = phase_of(name)
        if prospect(phase, redriving=redriving, ran=ran) in (Prospect.FAILED, Prospect.MISSING):
            return name, phase
    return None
