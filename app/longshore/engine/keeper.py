"""Brings results and output to the results directory, beside the engine's loop: a volume that is slow holds up nobody.

The only threads of the engine. They touch nothing of it: what to write comes in through a queue, how it went goes out
through another, and a byte in a pipe wakes the loop.
"""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from prometheus_client.metrics_core import Metric

from longshore.engine.attempt import AttemptKey, Ended
from longshore.engine.journal import Journal
from longshore.engine.loop import READ, Loop
from longshore.engine.metrics import gauge
from longshore.job.output import packed
from longshore.job.results import MAX_STATUS_RESULT_BYTES, OUTPUT, RESULT, KeptFile
from longshore.job.status import Outcome, Reason
from longshore.store.results import Results

THREADS = 4  # an fsync waits most of its time; more only wait for one another
OUTPUT_BYTES = 64 * 1024 * 1024  # of output that waits to be written; more is not kept
HANG_SECONDS = 30.0  # a result that is not kept by then: the volume hangs, and tells nobody
PROBE_SECONDS = 5.0  # a directory that failed is tried again so often

Then = Callable[[OSError | None], None]


class Keeper:
    """``failing`` while the directory takes nothing: then no attempts should be taken, whose results could be lost."""

    def __init__(self, loop: Loop, results: Results, journal: Journal, hang_seconds: float = HANG_SECONDS) -> None:
        self._loop, self._results, self._journal, self._hang_seconds = loop, results, journal, hang_seconds
        self._work: queue.SimpleQueue[tuple[Callable[[], None], Then]] = queue.SimpleQueue()
        self._done: deque[tuple[Then, OSError | None]] = deque()
        self._reading, self._writing = os.pipe()
        for end in (self._reading, self._writing):
            os.set_blocking(end, False)
        self.keeping: dict[AttemptKey, Ended] = {}
        """Attempts that have ended and will be told of when their results are kept."""
        self._output_bytes = self.result_bytes = self._output_dropped = 0
        self.failing = self._probing = False
        loop.watch(self._reading, READ, self._woken)
        for _ in range(THREADS):
            threading.Thread(target=self._run, name="results", daemon=True).start()

    def ended(self, ended: Ended, namespace: str, boot: str, tell: Callable[[Ended, str], None]) -> None:
        """Keep what has no room in a status, then tell of the end, with the name of the result if it has one."""
        key = ended.key
        if ended.output.total:
            file = KeptFile(namespace, key.uid, key.index, key.number, boot, OUTPUT)
            self._output(file.name, packed(ended.output))
        if not _goes_to_a_file(ended):
            tell(ended, "")
            return
        name, data = KeptFile(namespace, key.uid, key.index, key.number, boot, RESULT).name, ended.result or b"null"
        self.keeping[key] = ended
        self.result_bytes += len(data)
        late = self._loop.after(self._hang_seconds, self._hangs)

        def kept(error: OSError | None) -> None:
            late.cancel()
            del self.keeping[key]
            self.result_bytes -= len(data)
            self._went(error)
            tell(ended if error is None else _failed(ended, error), name if error is None else "")

        self._work.put((lambda: self._results.put(name, data, durable=True), kept))

    def _output(self, name: str, data: bytes) -> None:
        """If there is room: it is no part of the record."""
        if self.failing or self._output_bytes + len(data) > OUTPUT_BYTES:
            self._output_dropped += 1
            return
        self._output_bytes += len(data)

        def kept(error: OSError | None) -> None:
            self._output_bytes -= len(data)
            self._output_dropped += error is not None
            self._went(error)

        self._work.put((lambda: self._results.put(name, data, durable=False), kept))

    def _went(self, error: OSError | None) -> None:
        if error is None:
            return
        self._journal("results_failed", level="error", detail=f"the results directory: {error.strerror or error}")
        if not self._probing:  # it may be this file alone, of which a job can be the cause
            self._probing = True
            self._probe()

    def _hangs(self) -> None:
        """Something was not written in time. What is asked of the directory next, or when it goes on, tells whether that is all."""
        if not self.failing:
            self._journal("results_hang", level="error", detail="the results directory does not answer")
        self.failing = True
        if not self._probing:
            self._probing = True
            self._probe()

    def _probe(self) -> None:
        def went(error: OSError | None) -> None:
            if error is not None:
                self._loop.after(PROBE_SECONDS, self._probe)
            elif self.failing:
                self._journal("results_work_again")
            self.failing = self._probing = error is not None

        self._work.put((self._results.probe, went))

    def gauges(self) -> list[Metric]:
        """How it goes."""
        return [
            gauge("results_failing", "Whether the results directory takes nothing.", [({}, int(self.failing))]),
            gauge("results_waiting_bytes", "Results that are being written to the results directory.", [({}, self.result_bytes)]),
            gauge("results_output_dropped", "Attempts whose output did not reach the results directory.", [({}, self._output_dropped)]),
        ]  # fmt: skip

    # -- in a thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            write, then = self._work.get()
            error = None
            try:
                write()
            except OSError as found:
                error = found
            except ValueError as found:  # a name that is none: nothing to try again
                error = OSError(str(found))
            self._done.append((then, error))
            try:
                os.write(self._writing, b".")
            except BlockingIOError:
                pass  # the pipe is full of wake-ups

    # -- in the loop -----------------------------------------------------------------------------------------

    def _woken(self, _events: int) -> None:
        os.read(self._reading, 65536)
        while self._done:
            then, error = self._done.popleft()
            then(error)


def _goes_to_a_file(ended: Ended) -> bool:
    """What has no room in a status: large results, and all of array items but those that say nothing."""
    if ended.outcome is not Outcome.SUCCEEDED or ended.result is None:
        return False
    if ended.key.index is not None:
        return ended.result != b"null"
    return len(ended.result) > MAX_STATUS_RESULT_BYTES


def _failed(ended: Ended, error: OSError) -> Ended:
    """Its result is lost, and so was its work."""
    text = (
        f"the results directory did not take the result of {len(ended.result or b'')} bytes: {error.strerror or error}"
    )
    return replace(ended, outcome=Outcome.FAILED, reason=Reason.RESULT_NOT_KEPT, result=None,
                   error_type=Reason.RESULT_NOT_KEPT, error_message=text)  # fmt: skip
