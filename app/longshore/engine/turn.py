"""What one turn of the loop has decided and not yet made durable.

Decisions are applied to memory at once, so that a job can be inserted, claimed and answered for in one
transaction. When the disk refuses, **facts** stay (an attempt has ended, a delivery was made) and are tried again;
everything else was a **wish**: it is taken back in memory, and its rows, events and deliveries go with it. No fact is
decided on top of a wish that is not on the disk (``after_wish``), so taking one back never takes a fact along.
"""

import time
from collections.abc import Callable
from typing import Protocol

from longshore.engine.attempt import Attempt
from longshore.errors import StoreUnavailable
from longshore.store.ledger import Batch, ChangeRow, ClaimRow, DeliveryRow, EventRow, Ledger

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

    def store_works(self) -> None:
        """The disk takes writes again after it refused one."""
        ...


class Turn:
    """Collects, commits, answers."""

    def __init__(self, ledger: Ledger, listener: TurnListener, observe: Callable[[float], None]) -> None:
        self._ledger, self._listener, self._observe = ledger, listener, observe
        self.batch = Batch()
        self._facts = _facts_of(self.batch)
        """Events and deliveries of the batch that stay when it is refused."""
        self._starts: list[Attempt] = []
        self._started: list[EventRow] = []
        self._after: list[Callable[[StoreUnavailable | None], None]] = []
        self._undo: list[Callable[[], None]] = []
        self._undo_claims: list[Callable[[], None]] = []
        self._wished: set[str] = set()
        """Jobs that a wish of this turn changed."""
        self._deferred: list[Callable[[], None]] = []
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

    def claim(
        self, row: ClaimRow, attempt: Attempt, event: EventRow, undo: Callable[[], None], *, committed: bool
    ) -> None:
        """An attempt that starts as soon as its claim is kept; ``committed`` says that its job's row is up to date."""
        self.batch.claims.append(row)
        self.batch.events.append(event)
        self._starts.append(attempt)
        self._started.append(event)
        self._undo_claims.append(undo)
        if not committed:
            self._urgent = True

    def change(self, row: ChangeRow, undo: Callable[[], None]) -> None:
        """A wish that changes a job, and how to take it back in memory."""
        self.batch.changes.append(row)
        self._wished.add(row.uid)
        self._undo.append(undo)

    def event(self, row: EventRow, *, fact: bool) -> None:
        """What followers are told after the commit; of a wish, it goes when the wish is taken back."""
        self.batch.events.append(row)
        if fact:
            self._facts.events.append(row)

    def deliver(self, row: DeliveryRow, *, fact: bool) -> None:
        """A webhook that is sent after the commit, or how far one is; of a wish, it goes with the wish."""
        self.batch.deliveries.append(row)
        if fact:
            self._facts.deliveries.append(row)

    def after_wish(self, uid: str, call: Callable[[], None]) -> bool:
        """Call once the job's wishes are settled, one way or the other; False when it has none, and nothing is called.

        What an ended attempt means may depend on them: after a cancel it is not repeated.
        """
        if uid not in self._wished:
            return False
        self._deferred.append(call)
        return True

    @property
    def unsettled(self) -> bool:
        """Whether an ended attempt is not on the disk yet."""
        return bool(self.batch.ends) or bool(self._deferred)

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
            self._works()

    def _works(self) -> None:
        if self.failing_until:
            self.failing_until = 0.0
            self._listener.store_works()

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
        # They hold, whatever becomes of the rest; what is told of them is written with the rest.
        self.batch.claims = []
        self._facts.events += self._started
        self._started.clear()
        self._undo_claims.clear()
        self._start(refused)

    def _commit_all(self) -> None:
        self._since, self._urgent = 0.0, False
        batch = self.batch
        refused = self._write(batch, durable=True) if batch else set()
        if refused is None:
            return
        self._begin(Batch())
        after, self._after = self._after, []
        deferred, self._deferred = self._deferred, []
        self._start(refused)
        self._listener.committed(batch, refused)
        self._works()
        for call in after:
            call(None)
        for fact in deferred:
            fact()

    def _begin(self, batch: Batch) -> None:
        """From here on decisions are collected in that batch; what is in it are facts."""
        self.batch, self._facts = batch, _facts_of(batch)
        self._undo.clear()
        self._undo_claims.clear()
        self._started.clear()
        self._wished.clear()

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
        facts = self._facts
        kept = Batch(
            ends=self.batch.ends, delivered=self.batch.delivered, told=self.batch.told, deliveries=facts.deliveries
        )  # fmt: skip
        kept.events = sorted(facts.events)  # by number: those of claims came last
        undo = [*self._undo, *self._undo_claims]  # claims are the last that a turn decides
        self._begin(kept)
        self._starts.clear()
        for back in reversed(undo):
            back()
        self._listener.taken_back()
        after, self._after = self._after, []
        deferred, self._deferred = self._deferred, []
        self._since, self._urgent = 0.0, False
        for call in after:
            call(error)
        for fact in deferred:
            fact()


def _facts_of(batch: Batch) -> Batch:
    """The lists for what stays of it; ``ends``, ``delivered`` and ``told`` of a batch are facts anyway."""
    return Batch(events=list(batch.events), deliveries=list(batch.deliveries))
