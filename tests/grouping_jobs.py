"""Handlers that fail with classes of errors, one below the other and several at once, and a thread that is there at import."""

import asyncio
import threading

from longshore import Retry, handler

waiting = threading.Thread(target=threading.Event().wait, name="waits-for-news", daemon=True)
waiting.start()


@handler(max_retries=2, retry=Retry(initial_seconds=0.01, on=("OSError",)))
def connects() -> None:
    """An OSError of a kind."""
    raise ConnectionResetError("peer went away")


@handler(max_retries=2, retry=Retry(initial_seconds=0.01, except_=("LookupError",)))
def looks_up() -> None:
    """A LookupError of a kind."""
    raise KeyError("id")


@handler(max_retries=1, retry=Retry(initial_seconds=0.01, on=("TimeoutError",)))
async def fetches() -> None:
    """One of a group."""

    async def fetch() -> None:
        raise TimeoutError("example.com took too long")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fetch())
        tasks.create_task(asyncio.sleep(600))


@handler(max_retries=1, retry=Retry(initial_seconds=0.01, except_=("ConnectionError",)))
def groups() -> None:
    """A group within a group."""
    inner = ExceptionGroup("inner", [ConnectionResetError("x"), ValueError("y")])
    raise ExceptionGroup("outer", [inner, OSError("z")])
