"""Answers that go on: output of a job, events as they happen. Each holds a thread, so they are few and end by themselves."""

import time
from collections.abc import Callable, Iterator

import orjson
from flask import Blueprint, Response, request

from longshore.api import parse
from longshore.api.context import budget, store
from longshore.api.reply import ended, reply
from longshore.api.waiting import Budget, caller_of_request
from longshore.errors import LongshoreError
from longshore.job.numerals import whole
from longshore.store.port import Event, JobStore, LogChunk
from longshore.store.waiting_caller import WaitingCaller, waiting_for

bp = Blueprint("streams", __name__, url_prefix="/v1")

STREAM_SECONDS = 300.0  # then the client comes again where it left off
TURN_SECONDS = 10.0  # of silence before a sign of life
PROGRESS = "progress"
TERMINAL_EVENTS = frozenset({"succeeded", "failed", "cancelled"})


@bp.get("/jobs/<id:id>/logs")
def logs(id: str) -> Response:
    """Output of an attempt, the last by default; ``follow`` goes on until it ends."""
    parse.known_parameters("attempt", "index", "offset", "follow", "wait")
    attempt = parse.number("attempt", None, low=1, high=10**9)
    index = parse.number("index", None, low=0, high=10**9)
    offset = parse.number("offset", 0, low=-(10**12), high=10**12) or 0
    if parse.flag("follow"):
        jobs, chunk = store(), store().logs(id, attempt=attempt, index=index, offset=offset)
        return follow(chunk, lambda at: jobs.logs(
            id, attempt=chunk.attempt or attempt, index=index, offset=at, wait=TURN_SECONDS))  # fmt: skip
    with budget().wait(parse.seconds("wait")) as wait:
        return page(store().logs(id, attempt=attempt, index=index, offset=offset, wait=wait))


def page(chunk: LogChunk) -> Response:
    """A piece of output; the headers say where it lies."""
    headers = {
        "Longshore-Offset": str(chunk.offset), "Longshore-Next-Offset": str(chunk.next_offset),
        "Longshore-Complete": str(chunk.complete).lower(), "Longshore-Dropped": str(chunk.dropped),
        "Longshore-Attempt": str(chunk.attempt),
    }  # fmt: skip
    return Response(chunk.data, 200, headers, content_type="text/plain; charset=utf-8")


def follow(chunk: LogChunk, more: Callable[[int], LogChunk]) -> Response:
    """Output as it is written: what is there, then ``more(offset)`` again and again until it is complete."""
    return _stream(_pieces(chunk, more), "text/plain; charset=utf-8")


def _pieces(chunk: LogChunk, more: Callable[[int], LogChunk]) -> Iterator[bytes]:
    limit = time.monotonic() + STREAM_SECONDS
    while True:
        if chunk.dropped:
            yield f"[{chunk.dropped} bytes were not kept]\n".encode()
        yield chunk.data
        if chunk.complete or time.monotonic() > limit:
            return
        try:
            chunk = more(chunk.next_offset)
        except LongshoreError:
            return  # the job was removed or the engine is going: the client sees the end and asks again


@bp.get("/events")
def all_events() -> Response:
    """Events of all jobs, as a stream or a long poll."""
    return _events(None)


@bp.get("/jobs/<id:id>/events")
def job_events(id: str) -> Response:
    """Events of one job, as a stream or a long poll."""
    return _events(id)


def _events(id: str | None) -> Response:
    parse.known_parameters("after", "wait", "limit")
    after = parse.number("after", 0, low=0, high=10**18) or 0
    if (resumed := whole(request.headers.get("Last-Event-ID", ""))) is not None:
        after = resumed
    if "text/event-stream" in request.headers.get("Accept", ""):
        # Before its events: a job that ends between the two has its end among them.
        over = id is not None and ended(store().get(id))
        first = store().events(job=id, after=after, progress=0)
        if over and not first:
            return Response(status=204)  # nothing will come; after any other answer an EventSource connects again
        return _stream(_sse(store(), id, after, list(first)), "text/event-stream")
    limit = parse.number("limit", 500, low=1, high=1000) or 500
    with budget().wait(parse.seconds("wait")) as wait:
        found = store().events(job=id, after=after, wait=wait, limit=limit)
    return reply({"items": [_event(event) for event in found], "next": found[-1].seq if found else after})


def _event(event: Event) -> dict[str, object]:
    return {"seq": event.seq, "job": event.job, "type": event.type, "at": event.at, "data": event.data}


def _sse(jobs: JobStore, id: str | None, after: int, found: list[Event]) -> Iterator[bytes]:
    limit = time.monotonic() + STREAM_SECONDS
    progress, silent = 0, False
    yield b"retry: 1000\n\n"
    while True:
        for event in found:
            after = event.seq
            if event.type == PROGRESS:
                progress = int(str(event.data["report"]))
                yield b"event: %b\ndata: %b\n\n" % (event.type.encode(), orjson.dumps(_event(event)))
                continue  # without an id: a client that comes again does so from the last event that is kept
            yield b"id: %d\nevent: %b\ndata: %b\n\n" % (after, event.type.encode(), orjson.dumps(_event(event)))
            if id is not None and event.type in TERMINAL_EVENTS:
                limit = min(limit, time.monotonic())  # a redrive is another stream
        if time.monotonic() >= limit:
            return
        try:
            # Of an ended job the last event may have been removed, with others that were too old.
            over = silent and id is not None and ended(jobs.get(id))
            wait = 0.0 if over else TURN_SECONDS
            found = list(jobs.events(job=id, after=after, wait=wait, progress=progress))
        except LongshoreError:
            return  # the engine is going: the client comes again with Last-Event-ID
        silent = not found
        if over and silent:
            return
        if silent:
            yield b": still here\n\n"


def _stream(pieces: Iterator[bytes], content_type: str) -> Response:
    place = budget()
    place.open_stream()
    response = Response(_Counted(pieces, place, caller_of_request()), content_type=content_type)
    response.headers["X-Accel-Buffering"] = "no"
    return response


class _Counted:
    """An iterator that gives its place back when the server is done with it, started or not; it ends when the caller leaves."""

    def __init__(self, pieces: Iterator[bytes], place: Budget, caller: WaitingCaller | None) -> None:
        self._pieces, self._place, self._caller, self._closed = pieces, place, caller, False

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> bytes:
        if self._caller is not None and self._caller.gone:
            raise StopIteration
        with waiting_for(self._caller):
            return next(self._pieces)

    def close(self) -> None:
        """Called by the server, also when the client went away."""
        if not self._closed:
            self._closed = True
            self._place.close_stream()
