"""The outbox: which deliveries are due, and what their results mean. Sending is the courier's work."""

import heapq
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, cast

import orjson

from longshore.engine.live import Live, Spec
from longshore.engine.loop import READ, WRITE, Loop, Timer, receive
from longshore.job.spec import rfc3339_at
from longshore.job.status import TERMINAL
from longshore.job.webhook import (
    MAX_IN_FLIGHT,
    MAX_PER_RECEIVER,
    SCHEDULE_SECONDS,
    body,
    message_id,
    next_attempt,
    receiver_of,
)
from longshore.store.ledger import DeliveryRow


class Outbox:
    """Deliveries that are waiting or under way. ``settle(row, result)`` makes a result durable."""

    def __init__(self, loop: Loop, *, secrets_dir: str, allow_local: bool,
                 settle: Callable[[DeliveryRow, str], None], log: Callable[..., None]) -> None:  # fmt: skip
        self._loop, self._settle, self._log = loop, settle, log
        self._boot = orjson.dumps({"secrets_dir": secrets_dir, "allow_local": allow_local}).decode()
        self._waiting: dict[str, list[tuple[float, str, DeliveryRow]]] = {}
        """By receiver, each a heap by time; receivers take turns."""
        self._sent: dict[str, DeliveryRow] = {}
        self._sent_to: Counter[str] = Counter()
        self._courier: subprocess.Popen[bytes] | None = None
        self._wire: socket.socket | None = None
        self._in, self._out = bytearray(), bytearray()
        self._timer: Timer | None = None

    def add(self, rows: Iterable[DeliveryRow]) -> None:
        """Deliveries that the store holds."""
        for row in rows:
            self._wait(row)
        self._send_due()

    def uids(self) -> set[str]:
        """Jobs about which something waits or is under way."""
        return {row.uid for row in self._sent.values()} | {
            row.uid for heap in self._waiting.values() for _, _, row in heap
        }

    def hurry(self, uids: Collection[str]) -> int:
        """Try what waits about these jobs now; how much that is, with what is under way already."""
        now = time.time()
        hurried = sum(row.uid in uids for row in self._sent.values())
        for heap in self._waiting.values():
            for place, (_, id, row) in enumerate(heap):
                if row.uid in uids:
                    heap[place] = (now, id, row._replace(next_at=now))
                    hurried += 1
            heapq.heapify(heap)
        self._send_due()
        return hurried

    def pids(self) -> list[int]:
        """The courier, while there is one."""
        return [self._courier.pid] if self._courier is not None and self._wire is not None else []

    @property
    def depth(self) -> int:
        """How many are not settled."""
        return sum(map(len, self._waiting.values())) + len(self._sent)

    def _wait(self, row: DeliveryRow) -> None:
        heapq.heappush(self._waiting.setdefault(receiver_of(row.url), []), (row.next_at or 0.0, row.id, row))

    def _room(self, host: str) -> bool:
        return len(self._sent) < MAX_IN_FLIGHT and self._sent_to[host] < MAX_PER_RECEIVER

    def _send_due(self) -> None:
        now = time.time()
        for host in list(self._waiting):
            if len(self._sent) >= MAX_IN_FLIGHT:
                break  # the rest is first the next time
            heap = self._waiting[host]
            while heap and heap[0][0] <= now and self._room(host):
                row = heapq.heappop(heap)[2]
                self._sent[row.id] = row
                self._sent_to[host] += 1
                self._write(row)
            del self._waiting[host]
            if heap:
                self._waiting[host] = heap
        self._wake_for_next(now)

    def _wake_for_next(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        first = min((heap[0][0] for host, heap in self._waiting.items() if self._room(host)), default=None)
        if first is not None:
            # Looked at again every minute at least: the clock may have been set.
            self._timer = self._loop.after(min(60.0, max(0.0, first - now)), self._send_due)

    def _write(self, row: DeliveryRow) -> None:
        if self._wire is None:
            self._start()
        fields = {"id": row.id, "url": row.url, "secret_ref": row.secret_ref, "body": row.body.decode()}
        self._out += orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        self._flush()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._courier = subprocess.Popen(
            [sys.executable, "-m", "longshore.engine.courier", self._boot],
            stdin=theirs.fileno(), stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self._wire = ours
        self._loop.watch(ours.fileno(), READ, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and self._wire is not None:
            self._read(self._wire)

    def _flush(self) -> None:
        assert self._wire is not None
        try:
            del self._out[: self._wire.send(self._out)]
        except BlockingIOError:
            pass  # the courier is behind; the rest goes when it has room
        except OSError:
            self._lost()
            return
        self._loop.watch(self._wire.fileno(), READ | WRITE if self._out else READ, self._ready)

    def _read(self, wire: socket.socket) -> None:
        if (data := receive(wire, 65536)) is None:
            return
        if not data:
            self._lost()
            return
        self._in += data
        while (end := self._in.find(b"\n")) >= 0:
            self._result(orjson.loads(self._in[:end]))
            del self._in[: end + 1]
        self._send_due()

    def _result(self, answer: dict[str, Any]) -> None:
        row = self._sent.pop(answer["id"])
        self._sent_to[receiver_of(row.url)] -= 1
        attempts = row.attempts + 1
        failed = answer["result"] == "failed"
        again = next_attempt(attempts, time.time(), random.random, asked=answer["after"]) if failed else None
        row = row._replace(attempts=attempts, next_at=again, last_error=answer["detail"])
        if again is not None:
            if attempts == 1:
                self._log(
                    "webhook_failed", level="warning", delivery=row.id, detail=row.last_error,
                    next_try=rfc3339_at(again),
                )  # fmt: skip
            self._wait(row)
        elif answer["result"] != "delivered":
            self._log("webhook_given_up", level="warning", delivery=row.id, detail=row.last_error)
        self._settle(row, answer["result"])

    def _lost(self) -> None:
        """The courier went: idle, as it does, or killed; what it had in hand is sent again."""
        assert self._wire is not None
        assert self._courier is not None
        self._loop.unwatch(self._wire.fileno())
        self._wire.close()
        self._wire = None
        self._courier.wait()
        self._in.clear()
        self._out.clear()
        again = time.time() + SCHEDULE_SECONDS[1]
        for row in self._sent.values():
            self._wait(row._replace(next_at=again))
        self._sent.clear()
        self._sent_to.clear()
        self._wake_for_next(time.time())

    def close(self) -> None:
        """End the courier; what is unsettled stays in the store and is sent after the next start."""
        if self._timer is not None:
            self._timer.cancel()
        if self._wire is not None:
            assert self._courier is not None
            self._loop.unwatch(self._wire.fileno())
            self._wire.close()
            os.killpg(self._courier.pid, 9)
            self._courier.wait()


def delivery(live: Live, spec: Spec, now: float) -> DeliveryRow | None:
    """What has to be sent about the end of the job; None when nobody asked."""
    hook = cast("dict[str, object] | None", spec.get("webhook"))
    standing = live.standing
    if hook is None or standing.phase not in cast("list[str]", hook.get("on") or TERMINAL):
        return None
    data: dict[str, object] = {
        "id": live.id, "uid": live.uid, "labels": live.row.labels, "phase": standing.phase,
        "reason": standing.reason, "message": standing.message, "attempts": live.attempts,
        "finishedAt": rfc3339_at(standing.finished_at or now),
        "result": orjson.Fragment(standing.result) if standing.result is not None else None,
    }  # fmt: skip
    text = body(standing.phase, rfc3339_at(now), data)
    message = message_id(live.uid, standing.redrives)
    return DeliveryRow(message, live.uid, str(hook["url"]), str(hook.get("secretRef") or ""), text, 0, now)
