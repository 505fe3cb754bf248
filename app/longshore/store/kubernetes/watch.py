"""One watch of jobs for the whole process: requests that wait and streams of events hang on it, never on one each.

A thread lists once, then watches from there. It remembers a few words of every job that may still change, to tell what
changed; Succeeded and Cancelled jobs never do. When the API server is away it comes back with growing pauses; when it
has been away for too long to go on (410) it lists again, and everybody who waits looks for himself.
"""

import contextlib
import logging
import queue
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from longshore.errors import Gone, LongshoreError
from longshore.store.kubernetes.client import KubeClient, Target
from longshore.store.kubernetes.documents import Resource, version
from longshore.store.kubernetes.history import History
from longshore.store.waiting_caller import cut_short

PAGE = 500
STREAM_SECONDS = 300  # then the server ends the stream and we ask again, so that a dead connection does not last
SILENCE_SECONDS = 75.0  # bookmarks come every minute
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
MAY_CHANGE = "status.phase!=Succeeded,status.phase!=Cancelled"

_log = logging.getLogger("longshore.watch")


class Told(Enum):
    """What a waiting request is told beside a changed job."""

    LOOK = "look"  # something may have been missed
    DELETED = "deleted"  # the job is gone
    NOTHING = "nothing"  # the time is over, the service is ending, or the caller has left


Change = Resource | Told


class Changes:
    """What happens to one job from now on."""

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[Change] = queue.SimpleQueue()

    def tell(self, change: Change) -> None:
        """Called by the watch."""
        self._told.put(change)

    def next(self, seconds: float) -> Change:
        """The next change, waiting at most so long."""
        try:
            with cut_short(lambda: self.tell(Told.NOTHING)):
                return self._told.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return Told.NOTHING


class JobWatch:
    """The thread, and who waits for it."""

    def __init__(self, client: KubeClient, jobs: Target, history: History, told: Callable[[], None],
                 broken: Callable[[], None]) -> None:  # fmt: skip
        """``told`` is called with each change that the API server tells, ``broken`` with each that cannot be passed on."""
        self._client, self._jobs, self._history, self._told, self._broken = client, jobs, history, told, broken
        self._lock = threading.Lock()
        self._followers: dict[tuple[str, str], list[Changes]] = defaultdict(list)
        self._stopping = threading.Event()
        self._since = ""  # version up to which everything was told; empty: nothing is known
        self._moved = threading.Condition()  # of ``_since`` or ``connected``, for those who wait for it
        self.connected = False

    def start(self) -> None:
        """Begin; does not wait for the API server."""
        threading.Thread(target=self._run, name="job-watch", daemon=True).start()

    def stop(self) -> None:
        """Let nobody wait any more. The thread is a daemon and goes with the process."""
        self._stopping.set()
        self._tell_all(Told.NOTHING)

    @contextlib.contextmanager
    def follow(self, namespace: str, name: str) -> Iterator[Changes]:
        """Changes of a job from now on; read the job after this, then nothing is missed."""
        changes, key = Changes(), (namespace, name)
        with self._lock:
            self._followers[key].append(changes)
        if self._stopping.is_set():
            changes.tell(Told.NOTHING)
        try:
            yield changes
        finally:
            with self._lock:
                self._followers[key].remove(changes)
                if not self._followers[key]:
                    del self._followers[key]

    def reach(self, version: int, seconds: float) -> None:
        """Until all that happened up to that version has been told, at most so long; at once while the API server is away."""
        with self._moved:
            self._moved.wait_for(lambda: not self.connected or int(self._since or 0) >= version, seconds)

    def followers(self) -> int:
        """Requests that wait now."""
        with self._lock:
            return sum(map(len, self._followers.values()))

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._since = self._since or self._list()
                self._stream()
                continue  # the server ended the stream, as agreed
            except Gone:
                self._since = ""
            except LongshoreError as error:
                _log.warning("%s", error)
            except Exception:  # whatever it is: without this thread nobody who waits would ever be answered
                _log.exception("the watch of jobs broke; it starts anew")
                self._since = ""
            if time.monotonic() - began > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS  # it went well for a while
            self._stopping.wait(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _list(self) -> str:
        """Learn what may still change; returns the version from which to watch."""
        found: list[Resource] = []
        page: dict[str, Any] = {"continue": ""}
        while "continue" in page:
            answer = self._client.get(self._jobs, list_=True, limit=PAGE, fieldSelector=MAY_CHANGE,
                                      **{"continue": page["continue"]})  # fmt: skip
            found += answer["items"]
            page = {name: text for name, text in answer["metadata"].items() if text}
        self._history.learn(found)
        self._tell_all(Told.LOOK)
        return str(page["resourceVersion"])

    def _stream(self) -> None:
        """Take one stream to its end."""
        seconds = int(STREAM_SECONDS * random.uniform(1.0, 1.2))  # so that several processes do not ask at once
        events = self._client.watch(self._jobs, silence_seconds=SILENCE_SECONDS, resourceVersion=self._since,
                                    allowWatchBookmarks="true", timeoutSeconds=seconds)  # fmt: skip
        self.connected = True
        try:
            for event in events:
                resource = event["object"]
                if event["type"] == "ERROR":
                    if resource.get("code") == 410:
                        raise Gone("the watch was away for too long")
                    raise LongshoreError(f"the watch of jobs: {resource.get('message')}")
                if event["type"] != "BOOKMARK":
                    self._contained(event["type"], resource)
                with self._moved:
                    self._since = str(resource["metadata"]["resourceVersion"])
                    self._moved.notify_all()
        finally:
            with self._moved:
                self.connected = False
                self._moved.notify_all()

    def _tell_all(self, what: Told) -> None:
        with self._lock:
            waiting = [changes for followers in self._followers.values() for changes in followers]
        for changes in waiting:
            changes.tell(what)

    def _contained(self, kind: str, resource: Resource) -> None:
        """One job that cannot be told of is left out, and whoever waits for it looks for himself: the next one counts as much."""
        try:
            self._tell(kind, resource)
        except Exception:
            self._broken()
            metadata = resource.get("metadata") or {}
            key = str(metadata.get("namespace")), str(metadata.get("name"))
            _log.exception("job %s/%s cannot be told of", *key, extra={"action": "object_contained", "object": key[1]})
            with self._lock:
                followers = list(self._followers.get(key, ()))
            for changes in followers:
                changes.tell(Told.LOOK)

    def _tell(self, kind: str, resource: Resource) -> None:
        metadata = resource["metadata"]
        self._told()
        self._history.change(kind, resource, version(resource))
        with self._lock:
            followers = list(self._followers.get((metadata["namespace"], metadata["name"]), ()))
        for changes in followers:
            changes.tell(Told.DELETED if kind == "DELETED" else resource)
