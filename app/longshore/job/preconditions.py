"""Conditional requests (RFC 9110, section 13): ``If-Match`` and ``If-None-Match`` as a value that the store judges.

The api reads the headers; the store compares them with what it is about to change and makes the change in the same step, so
nobody can be between the look and the write.

An entity tag of ours is one or two words joined by ``-``. For a job: the beginning of its uid, and its revision. For a queue:
a digest of the policy, and one of everything else (its depth, say). For a schedule, the same of its specification. A change of a policy is conditional on the first word
alone, because a policy is what two people overwrite for each other, and a busy queue's depth never stays the same.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from longshore.errors import InvalidRequest, PreconditionFailed

ANY = "*"
COMPRESSED = "-gzip"  # the tag of a representation that was compressed; it stands for the same state

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|\Z)')
_EMPTY = re.compile(r"\s*,")  # of a list; RFC 9110 asks to skip it


@dataclass(frozen=True, slots=True)
class Precondition:
    """What has to be so before a change is made."""

    match: tuple[str, ...] | None = None
    """Tags of ``If-Match``, one of which the thing must have; ``*``: any. None without the header."""
    none_match: tuple[str, ...] | None = None
    """Tags of ``If-None-Match``, none of which it may have."""

    def check(self, tag: str, what: str) -> None:
        """Raise PreconditionFailed when a thing that has the ``tag`` may not be changed."""
        if self.match is not None and ANY not in self.match and tag not in self.match:
            raise PreconditionFailed(f"{what} has changed since; read it again")
        if self.none_match is not None and (ANY in self.none_match or tag in self.none_match):
            raise PreconditionFailed(f"{what} is there in a state that If-None-Match excludes")

    @property
    def of_a_state(self) -> bool:
        """Whether it names states, so that nothing may change between the look and the write."""
        return bool(self.match and ANY not in self.match) or bool(self.none_match)

    def of_first_word(self) -> "Precondition":
        """The same for a thing whose changes depend on the first word of its tag."""
        return Precondition(_first_words(self.match), _first_words(self.none_match))

    def wire(self) -> list[object]:
        """As it crosses the engine's socket; ``from_wire`` reads it."""
        return [self.match, self.none_match]


NONE = Precondition()
"""Of a request without such headers."""


def _first_words(tags: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if tags is None else tuple(tag.partition("-")[0] for tag in tags)


def from_wire(wire: object) -> Precondition:
    """What ``wire`` wrote, and none for nothing."""
    if not isinstance(wire, list):
        return NONE
    match, none_match = (None if tags is None else tuple(map(str, tags)) for tags in wire)
    return Precondition(match, none_match)


def read(if_match: str | None, if_none_match: str | None) -> Precondition:
    """The headers of a request that changes something; raises InvalidRequest for what is no list of entity tags.

    ``If-Match`` compares strongly: a weak tag (``W/"…"``) matches nothing. A header that cannot be read is refused, because
    to ignore it would be to act without the condition.
    """
    return Precondition(_tags("If-Match", if_match, weak=False), _tags("If-None-Match", if_none_match, weak=True))


def known(if_none_match: str) -> tuple[str, ...]:
    """The tags that a reader has, compared weakly; what is no list of tags is none of them."""
    try:
        return _tags("If-None-Match", if_none_match, weak=True) or ()
    except InvalidRequest:
        return ()


def _tags(header: str, text: str | None, *, weak: bool) -> tuple[str, ...] | None:
    if text is None:
        return None
    if text.strip() == ANY:
        return (ANY,)
    found, at = [], 0
    while at < len(text):
        if (empty := _EMPTY.match(text, at)) is not None:
            at = empty.end()
            continue
        if (tag := _TAG.match(text, at)) is None:
            if not text[at:].strip():
                break
            detail = 'should be * or entity tags in quotation marks, such as "0123abcd-5"'
            raise InvalidRequest(f"{header}: {detail}", errors=[{"header": header, "detail": detail}])
        at = tag.end()
        if weak or not tag[1]:
            found.append(tag[2].removesuffix(COMPRESSED))
    return tuple(found)


def job_tag(job: Mapping[str, object]) -> str:
    """Of a job's document: changes with the job."""
    return f"{str(job['uid'])[:8]}-{job['rev']}"


def queue_tag(queue: Mapping[str, object]) -> str:
    """Of a queue's document: two words, of which the first changes with the policy alone."""
    return f"{policy_tag(queue)}-{_digest(queue)}"


def policy_tag(queue: Mapping[str, object]) -> str:
    """The first word of ``queue_tag``."""
    return _digest([queue["policy"], queue.get("overridden")])


def schedule_tag(schedule: Mapping[str, object]) -> str:
    """Of a schedule's document: two words, of which the first changes with what was asked for alone."""
    return f"{schedule_state_tag(schedule)}-{_digest(schedule)}"


def schedule_state_tag(schedule: Mapping[str, object]) -> str:
    """The first word of ``schedule_tag``."""
    return _digest([schedule["uid"], schedule["labels"], schedule["spec"]])


def _digest(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]
