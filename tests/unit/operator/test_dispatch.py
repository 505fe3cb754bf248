"""Offers to workers: cut by their size, halved where a worker takes less."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from longshore.job.attempts import Offer, TakenResults
from longshore_operator import recover
from longshore_operator.attempts_client import AttemptsClient, WorkerRefused
from longshore_operator.desk import Desk, Worker
from longshore_operator.dispatch import MAX_REQUEST_BYTES, Dispatcher, _offer
from longshore_operator.job import Attempt, Job
from trusted import NO_TOKENS

SLOTS = 40


def make_job(number: int, size: int) -> Job:
    """An array of one item of that size."""
    meta = {"namespace": "n", "name": f"j{number}", "uid": f"u{number}", "creationTimestamp": "2026-11-28T00:00:00Z"}
    return Job({"metadata": meta, "spec": {"handler": "echo", "items": [{"x": "y" * size}]}})


class Door(AttemptsClient):
    """A worker that takes requests of so many attempts at most."""

    def __init__(self, most: int) -> None:
        super().__init__(NO_TOKENS)
        self._most = most
        self.taken: list[int] = []
        self.sizes: list[int] = []

    async def offer(self, pod: recover.Pod, offers: Sequence[Offer]) -> TakenResults:  # there is one
        if len(offers) > self._most:
            raise WorkerRefused("413", status=413)
        self.taken.append(len(offers))
        self.sizes.append(sum(len(offer.model_dump_json()) for offer in offers))
        return TakenResults.model_validate({"results": [{"result": "accepted"} for _ in offers]}, strict=False)


async def run(most: int) -> tuple[Door, list[str]]:
    """Forty large jobs and a worker of forty slots; its door, and which jobs were refused."""
    desk, door, refused = Desk(), Door(most), list[str]()
    worker = Worker(recover.by_hand("here:1"), boot="b", slots=SLOTS, handlers=frozenset({"echo"}))
    desk.workers[worker.pod.uid] = worker
    for number in range(SLOTS):
        job = make_job(number, 500_000)
        desk.add(job)
        desk.queue(job, 1e10)
    dispatcher = Dispatcher(
        desk, door, now=lambda: 1e10, started=lambda _job, _attempt: None, returned=lambda job: desk.queue(job, 1e10),
        long=lambda _job: None, refused=lambda job, _why: (refused.append(job.name), desk.drop(job))[0],
        log=lambda *_a, **_k: None,
    )  # fmt: skip
    dispatcher.on = True
    dispatcher.stir()
    task = asyncio.create_task(dispatcher.run())
    for _ in range(200):
        await asyncio.sleep(0)
    task.cancel()
    return door, refused


def test_large_offers_are_cut_by_their_bytes() -> None:
    """All forty arrive, in requests that a worker takes."""
    door, refused = asyncio.run(run(SLOTS))

    assert (SLOTS, []) == (sum(door.taken), refused)
    assert max(door.sizes) <= MAX_REQUEST_BYTES + 500_000


def test_a_worker_that_takes_less_is_offered_halves() -> None:
    """Down to one at a time."""
    door, refused = asyncio.run(run(1))

    assert ([1] * SLOTS, []) == (door.taken, refused)


def test_an_attempt_that_is_too_large_by_itself_ends_its_job() -> None:
    """No worker of its kind would ever take it."""
    door, refused = asyncio.run(run(0))

    assert ([], SLOTS) == (door.taken, len(set(refused)))


def test_a_packed_answer_of_a_worker_is_not_unpacked() -> None:
    """It is refused by its header, before a byte of it is read."""

    async def ask() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        client: Any = AttemptsClient(NO_TOKENS)
        await client.open()
        try:
            async with server:
                host, port = server.sockets[0].getsockname()
                with pytest.raises(WorkerRefused, match="packed as 'gzip'"):
                    await client.feed(recover.by_hand(f"{host}:{port}"), "", "", 0.0)
        finally:
            await client.close()

    asyncio.run(ask())


@pytest.mark.parametrize(("accepts", "told"), [((), ""), (("tracestate",), "a=1")])
def test_a_tracestate_is_told_to_workers_alone_that_say_that_they_know_it(accepts: Sequence[str], told: str) -> None:
    notes = {"longshore.dev/tracestate": "a=1", "longshore.dev/traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    meta = {
        "namespace": "n",
        "name": "j",
        "uid": "u",
        "creationTimestamp": "2026-11-28T00:00:00Z",
        "annotations": notes,
    }
    offer = _offer(Job({"metadata": meta, "spec": {"handler": "echo"}}), Attempt(1, None, 0.0), None, accepts)

    assert told == offer.tracestate
    assert (told != "") == ("tracestate" in offer.model_dump(mode="json", exclude_unset=True, by_alias=True))
