"""What a worker has to tell the operator: numbered entries that stay until they are acknowledged. No I/O."""

from collections import OrderedDict
from collections.abc import Mapping

from longshore.engine.attempt import AttemptKey
from longshore.job.output import Output

TOPIC = "feed"  # what a poll waits for
PAGE_BYTES = 8 * 1024 * 1024  # of one answer; at least one entry goes out, however large
ENTRY_BYTES = 1024  # what an entry takes beside its result
LOG_BYTES = 32 * 1024 * 1024  # of the output of ended attempts

Entry = Mapping[str, object]


class Feed:
    """Entries by number. An attempt has at most one: its latest progress, then its outcome."""

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self.seq = 0
        """Number of the latest change; not every change is an entry."""
        self._entries: dict[int, tuple[AttemptKey, Entry, int]] = {}
        self._progress: dict[AttemptKey, int] = {}
        self._outcomes: set[AttemptKey] = set()
        self.held_bytes = 0
        """Size of all outcomes that are not acknowledged, about."""

    def __contains__(self, key: AttemptKey) -> bool:
        """Whether the outcome of the attempt is held."""
        return key in self._outcomes

    @property
    def outcomes(self) -> int:
        """Outcomes that are not acknowledged."""
        return len(self._outcomes)

    def touch(self) -> int:
        """Something changed that is no entry: whoever asks for what is new is answered. Returns its number."""
        self.seq += 1
        return self.seq

    def ended(self, key: AttemptKey, entry: Entry, result_bytes: int) -> None:
        """The outcome of an attempt; its progress is history."""
        self._entries.pop(self._progress.pop(key, 0), None)
        self._outcomes.add(key)
        size = ENTRY_BYTES + result_bytes
        self.held_bytes += size
        self._entries[self.touch()] = (key, entry, size)

    def progress(self, key: AttemptKey, entry: Entry) -> None:
        """The latest progress of an attempt."""
        self._entries.pop(self._progress.pop(key, 0), None)
        self._progress[key] = self.touch()
        self._entries[self.seq] = (key, entry, ENTRY_BYTES)

    def position(self, cursor: str) -> int:
        """Where a cursor stands; -1, before the beginning, for none, one of another boot or one that was never given."""
        boot, _, seq = cursor.partition(":")
        return int(seq) if boot == self._boot and int(seq) <= self.seq else -1

    def acknowledge(self, seq: int) -> None:
        """Forget everything up to ``seq``: the operator has it on record."""
        for number in [number for number in self._entries if number <= seq]:
            key, _, size = self._entries.pop(number)
            if self._progress.get(key) == number:
                del self._progress[key]
            else:
                self._outcomes.discard(key)
                self.held_bytes -= size

    def after(self, seq: int) -> tuple[list[dict[str, object]], str, list[AttemptKey]]:
        """Entries beyond ``seq``, as many as fit a page, the cursor behind them, and the attempts whose outcomes come after it."""
        found: list[dict[str, object]] = []
        taken = 0
        for number, (_, entry, size) in self._entries.items():
            if number <= seq:
                continue
            if found and taken + size > PAGE_BYTES:
                left = [key for at, (key, _, _) in self._entries.items() if at >= number and key in self._outcomes]
                return found, f"{self._boot}:{found[-1]['seq']}", left
            taken += size
            found.append({"seq": number, **entry})
        return found, f"{self._boot}:{self.seq}", []


class KeptLogs:
    """Output of the latest ended attempts, in bounded memory."""

    def __init__(self, limit: int = LOG_BYTES) -> None:
        self._limit, self._size = limit, 0
        self._outputs: OrderedDict[AttemptKey, Output] = OrderedDict()

    def keep(self, key: AttemptKey, output: Output) -> None:
        """The attempt has ended; the oldest give way to it."""
        self._outputs[key] = output
        self._size += _size(output)
        while self._size > self._limit:
            self._size -= _size(self._outputs.popitem(last=False)[1])

    def get(self, key: AttemptKey) -> Output | None:
        """What it printed, as long as that is kept."""
        return self._outputs.get(key)


def _size(output: Output) -> int:
    return ENTRY_BYTES + len(output.head) + len(output.tail)
