"""What one turn of the loop has decided and not yet made durable.

Decisions are applied to memory at once, so that a job can be inserted, claimed and answered for in one
transaction; each that somebody is waiting for brings the way back, in case the disk refuses.
"""

import time
from collections.abc import Callable
from typing import Protocol

from longshore.engine.attempt import Attempt
from longshore.errors import StoreUnavailable
from longshore.store.ledger import Batch, ClaimRow, Ledger

# Ends of attempts that nobody waits on share a commit: as long as other attempts run, whose results may come any
# moment, for at most so long. The slots have new work meanwhile.
GATHER_SECONDS = 0.005
RETRY_SECONDS = 1.0

Refused = set[tuple[str, int | None, int]]


class TurnListener(Protocol):
    """What the engine does about a commit."""

    def start(self, attempt: Attempt) -> None:
        """The attempt is claimed for sure: hand it to its slot."""
        ...

    def committed(self, batch: Batch, refused: Refused) -> None:
        """Everything in the batch holds, but what the ledger refused."""
        ...

    def store_failed(self, error: StoreUnavailable) -> None:
        """The disk refuses; ends are kept and tried again, everything else has been taken back."""
        ...

    def taken_back(self) -> None:
        """Jobs stand as they stood before the turn, but for ended attempts."""
        ...


class Turn:
    """Collects, commits, answers."""

    def __init__(self, ledger: Ledger, listener: TurnListener, observe: Callable[[float], None]) -> None:
        self._ledger, self._listener, self._observe = ledger, listener, observe
        self.batch = Batch()
        self._starts: list[Attempt] = []
        self._after: list[Callable[[StoreUnavailable | None], None]] = []
        self._undo: list[Callable[[], None]] = []
        self._urgent = False
        self._since = 0.0
        self.failing_until = 0.0
        """Monotonic time before which a refused disk is not tried again; 0 while it works."""

    def __bool__(self) -> bool:
        return bool(self.batch) or bool(self._after)

    @property
    def failing(self) -> bool:
        """Whether the last commit was refused."""
        return self.failing_until > 0

    @property
    def starting(self) -> int:
        """Attempts that are claimed and not handed over yet."""
        return len(self._starts)

    @property
    def due_in(self) -> float:
        """Seconds until everything has to be committed; 0 when somebody waits for it, or it has gathered long enough."""
        if self._urgent or not self._since:
            return 0.0
        return max(0.0, self._since + GATHER_SECONDS - time.monotonic())

    def urgent(self) -> None:
        """Somebody waits for this turn: do not gather."""
        self._urgent = True

    def claim(self, row: ClaimRow, attempt: Attempt, undo: Callable[[], None], *, committed: bool) -> None:
        """An attempt that starts as soon as its claim is kept; ``committed`` says that its job's row is up to date."""
        self.batch.claims.append(row)
        self._starts.append(attempt)
        self._undo.append(undo)
        if not committed:
            self._urgent = True

    def undo(self, call: Callable[[], None]) -> None:
        """How to take back what was just applied to memory."""
        self._undo.append(call)

    def then(self, call: Callable[[StoreUnavailable | None], None]) -> None:
        """Call after the commit, with the error when it was refused. Makes the turn urgent."""
        self._after.append(call)
        self._urgent = True

    def abandon(self) -> None:
        """Take back what this turn decided: a decision broke half way. Whoever waits for the others is told."""
        self._take_back(StoreUnavailable("another request of the same moment failed; try again", retry_after=1))

    def probe(self) -> None:
        """After a refusal: see whether the disk works again. No write may come that would: the service is not ready meanwhile."""
        if not self.failing or self or time.monotonic() < self.failing_until:
            return  # what waits to be settled is tried by itself
        try:
            self._ledger.probe()
        except StoreUnavailable as error:
            self.failing_until = time.monotonic() + RETRY_SECONDS
            self._listener.store_failed(error)
        else:
            self.failing_until = 0.0

    def settle(self, *, quiet: bool) -> None:
        """Commit what has to be: everything when it is urgent or nothing else is ready, else just the claims."""
        if not self._since:
            self._since = time.monotonic()
        if quiet or not self.due_in:
            self._commit_all()
        elif self.batch.claims:
            self._commit_claims()

    def _commit_claims(self) -> None:
        claims = Batch(claims=self.batch.claims)
        refused = self._write(claims, durable=False)
        if refused is None:
            return
        self.batch.claims = []
        self._undo.clear()
        self._start(refused)

    def _commit_all(self) -> None:
        self._since, self._urgent = 0.0, False
        batch = self.batch
        refused = self._write(batch, durable=True) if batch else set()
        if refused is None:
            return
        self.failing_until = 0.0
        self.batch, after = Batch(), self._after
        self._after = []
        self._undo.clear()
        self._start(refused)
        self._listener.committed(batch, refused)
        for call in after:
            call(None)

    def _start(self, refused: Refused) -> None:
        starts, self._starts = self._starts, []
        for attempt in starts:
            key = attempt.key
            if (key.uid, key.index, key.number) not in refused:
                self._listener.start(attempt)

    def _write(self, batch: Batch, *, durable: bool) -> Refused | None:
        begun = time.perf_counter()
        try:
            refused = self._ledger.commit(batch, durable=durable)
        except StoreUnavailable as error:
            self.failing_until = time.monotonic() + RETRY_SECONDS
            self._take_back(error)
            self._listener.store_failed(error)
            return None
        self._observe(time.perf_counter() - begun)
        return refused

    def _take_back(self, error: StoreUnavailable) -> None:
        # Ends are facts and stay; wishes are taken back and their authors told.
        kept = Batch(ends=self.batch.ends, delivered=self.batch.delivered, deliveries=self.batch.deliveries)
        kept.events = [row for row in self.batch.events if row.type not in ("submitted", "started")]
        self.batch = kept
        self._starts.clear()
        undo, self._undo = self._undo, []
        for back in reversed(undo):
            back()
        self._listener.taken_back()
        after, self._after = self._after, []
        self._since, self._urgent = 0.0, False
        for call in after:
            call(error)
