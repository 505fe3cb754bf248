"""The waiting line against a naive one that sorts everything every time."""

import dataclasses
import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.job import lane as lane_module
from longshore.job import line as line_module
from longshore.job.explain import explain
from longshore.job.lane import REMEMBERED_PRIORITIES, Entry
from longshore.job.limits import QueuePolicy, RateLimit
from longshore.job.line import Line


def entry(uid: str, since: float = 0.0, **fields: object) -> Entry:
    return Entry(uid, since, **fields)  # type: ignore[arg-type]


def names(line: Line, now: float = 1e9) -> list[str]:
    found = []
    while (taken := line.pop(now)) is not None:
        found.append(taken.uid)
    return found


class NaiveLine:
    """The same rule, written as it reads: look at everybody, sort, take the first."""

    def __init__(self, policy: QueuePolicy) -> None:
        self.policy = policy
        self.entries: list[Entry] = []
        self.used: dict[tuple[int, str], float] = {}
        self.present: dict[int, float] = {}
        self.running: dict[object, str] = {}

    def push(self, new: Entry) -> None:
        key = (new.priority, new.fairness_key)
        if not any((e.priority, e.fairness_key) == key for e in self.entries):
            self.used[key] = max(self.used.get(key, 0.0), self.present.get(new.priority, 0.0))
        self.entries.append(new)

    def pop(self) -> Entry | None:
        limit = self.policy.concurrency
        if self.policy.paused or (limit is not None and len(self.running) >= limit):
            return None
        open_ = [e for e in self.entries if not self.full(e.concurrency_key)]
        if not open_:
            return None
        ageing = self.policy.ageing_seconds
        levels = {e.priority for e in open_}

        def rank(priority: int) -> tuple[float, float]:
            oldest = min(e.since for e in open_ if e.priority == priority)
            return (-priority, oldest) if ageing is None else (oldest - priority * ageing, -priority)

        best = min(levels, key=rank)
        level = [e for e in open_ if e.priority == best]
        key = min(
            {e.fairness_key for e in level},
            key=lambda k: (self.used[best, k], min(e.since for e in level if e.fairness_key == k)),
        )
        taken = min((e for e in level if e.fairness_key == key), key=lambda e: e.since)
        self.entries.remove(taken)
        self.present[best] = self.used[best, key]
        self.used[best, key] += 1.0 / self.policy.fairness_weights.get(key, 1.0)
        return taken

    def full(self, key: str) -> bool:
        limit = self.policy.key_concurrency
        return bool(key) and limit is not None and sum(1 for k in self.running.values() if k == key) >= limit


jobs = st.lists(
    st.tuples(st.integers(-2, 2), st.sampled_from(["", "a", "b", "c"])), min_size=1, max_size=60
)  # fmt: skip
policies = st.builds(
    QueuePolicy,
    ageing_seconds=st.sampled_from([None, 0.5, 10.0]),
    fairness_weights=st.sampled_from([{}, {"a": 2.0, "b": 4.0}]),
)


@given(jobs=jobs, policy=policies, data=st.data())
@settings(max_examples=300, deadline=None)
def test_takes_the_same_jobs_in_the_same_order_as_sorting_everything(jobs, policy, data) -> None:
    line, naive = Line(policy, 0.0), NaiveLine(policy)
    waiting = [entry(str(n), float(n), priority=p, fairness_key=k) for n, (p, k) in enumerate(jobs)]
    while waiting or naive.entries:
        if waiting and (not naive.entries or data.draw(st.booleans())):
            new = waiting.pop(0)
            line.push(dataclasses.replace(new))
            naive.push(new)
        elif data.draw(st.integers(0, 9)) == 0:
            gone = data.draw(st.sampled_from(naive.entries))
            naive.entries.remove(gone)
            assert line.remove(gone.uid) is not None
        else:
            expected, found = naive.pop(), line.pop(1e6)
            assert (expected and expected.uid) == (found and found.uid)


def take(line: Line, able: set[str]) -> str | None:
    """One job of these lanes: there is no room for the others."""
    taken = line.pop(1e6, set("xyz") - able)
    return taken.uid if taken else None


@given(
    jobs=st.lists(st.tuples(st.sampled_from("xyz"), st.integers(-2, 2)), min_size=1, max_size=60),
    ageing=st.sampled_from([None, 0.5, 10.0]), data=st.data(),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_those_who_find_no_room_keep_nobody_else_waiting_and_lose_no_place(jobs, ageing, data) -> None:
    """Whoever is taken is the first, by the rule, of those for whom there is room."""
    policy = QueuePolicy(ageing_seconds=ageing)
    line, waiting, there = Line(policy, 0.0), list(enumerate(jobs)), []
    while waiting or there:
        if waiting and (not there or data.draw(st.booleans())):
            number, (kind, priority) = waiting.pop(0)
            there.append(entry(f"{kind}{number}", float(number), priority=priority, lane=kind))
            line.push(dataclasses.replace(there[-1]))
        elif data.draw(st.integers(0, 9)) == 0:
            gone = there.pop(data.draw(st.integers(0, len(there) - 1)))
            assert line.remove(gone.uid) is not None
        else:
            able = set(data.draw(st.lists(st.sampled_from("xyz"), min_size=1, unique=True)))
            naive = NaiveLine(policy)
            for one in there:
                if one.uid[0] in able:
                    naive.push(one)
            expected = naive.pop()
            assert (expected and expected.uid) == take(line, able)
            there = [one for one in there if one is not expected]
        assert len(there) == len(line) == line.depth(1e6)
        assert min((one.since for one in there), default=None) == line.oldest(1e6)


def test_turns_are_counted_for_all_lanes_together() -> None:
    line = Line(QueuePolicy(), 0.0)
    for number in range(4):
        line.push(entry(f"x{number}", float(number), lane="x", fairness_key="big"))
        line.push(entry(f"y{number}", float(number) + 0.5, lane="y", fairness_key="big"))
    for number in range(2):
        line.push(entry(f"x-small-{number}", 10.0 + number, lane="x", fairness_key="small"))

    assert ["y0", "y1"] == [take(line, {"y"}) for _ in range(2)]
    assert ["x-small-0", "x0", "x-small-1"] == [take(line, {"x"}) for _ in range(3)]
    assert ["x1", "x2", "y2"] == [take(line, {"x", "y"}) for _ in range(3)]


def test_explain_counts_in_the_lane_of_the_job() -> None:
    line = Line(QueuePolicy(), 0.0)
    for uid in ("x0", "x1", "y0"):
        line.push(entry(uid, float(len(line)), lane=uid[0]))

    assert [("NoFreeSlot", 1), ("InLine", 2)] == [
        ((found := explain(line, uid, now=9.0, free_slots=0)).reason, found.position)  # type: ignore[union-attr]
        for uid in ("x0", "x1")
    ]
    assert ("Next", 1) == ((found := explain(line, "y0", now=9.0, free_slots=1)).reason, found.position)  # type: ignore[union-attr]


@given(
    jobs=st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=40),
    limit=st.integers(1, 3), data=st.data(),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_key_limits_hold_and_nobody_is_forgotten(jobs, limit, data) -> None:
    line = Line(QueuePolicy(key_concurrency=limit, ageing_seconds=None), 0.0)
    for number, key in enumerate(jobs):
        line.push(entry(str(number), float(number), concurrency_key=key))
    running: list[tuple[str, str]] = []
    taken = 0
    while taken < len(jobs) or running:
        found = line.pop(1e6)
        if found is not None:
            running.append((found.uid, found.concurrency_key))
            line.begin(found.uid, found.concurrency_key)
            taken += 1
            for key in ("a", "b"):
                assert sum(1 for _, k in running if k == key) <= limit
        else:
            assert running, "somebody waits although nobody runs"
            uid, key = running.pop(data.draw(st.integers(0, len(running) - 1)))
            line.end(uid, key)
    assert len(line) == 0


def test_a_higher_priority_goes_first_without_ageing() -> None:
    line = Line(QueuePolicy(ageing_seconds=None), 0.0)
    for uid, since, priority in (("old", 0.0, 0), ("urgent", 900.0, 1), ("older", -5.0, 0)):
        line.push(entry(uid, since, priority=priority))

    assert ["urgent", "older", "old"] == names(line)


def test_ageing_lets_an_old_job_pass_a_more_urgent_one() -> None:
    line = Line(QueuePolicy(ageing_seconds=60.0), 0.0)
    line.push(entry("urgent", 100.0, priority=1))
    line.push(entry("old", 0.0))

    assert ["old", "urgent"] == names(line)


def test_a_tenant_with_many_jobs_does_not_hold_up_another() -> None:
    line = Line(QueuePolicy(), 0.0)
    for number in range(100):
        line.push(entry(f"many-{number}", float(number), fairness_key="many"))
    line.push(entry("few", 1000.0, fairness_key="few"))

    assert "few" in names(line)[:2]


def test_weights_give_turns_in_proportion() -> None:
    line = Line(QueuePolicy(fairness_weights={"gold": 3.0}), 0.0)
    for number in range(40):
        line.push(entry(f"gold-{number}", float(number), fairness_key="gold"))
        line.push(entry(f"iron-{number}", float(number), fairness_key="iron"))

    first = names(line)[:20]

    assert 15 == sum(1 for name in first if name.startswith("gold"))


def test_a_delayed_job_comes_when_its_time_has_come() -> None:
    line = Line(QueuePolicy(), 0.0)
    line.push(entry("later", 5.0, not_before=100.0))

    assert (None, 100.0) == (line.pop(99.9), line.next_wake(99.9))
    assert ["later"] == names(line, 100.0)


def test_a_paused_queue_gives_nothing_and_wakes_nobody() -> None:
    line = Line(QueuePolicy(paused=True), 0.0)
    line.push(entry("waits", not_before=5.0))

    assert (None, None) == (line.pop(10.0), line.next_wake(0.0))


def test_the_rate_starts_without_a_burst_and_then_holds() -> None:
    line = Line(QueuePolicy(rate_limit=RateLimit(jobs=2, per_seconds=1.0, burst=2)), 0.0)
    for number in range(10):
        line.push(entry(str(number), float(number)))

    assert 0 == len(names(line, 0.0))
    assert 1 == len(names(line, 0.5))
    assert 2 == len(names(line, 60.0)), "at most the burst is saved up"


def test_a_clock_that_is_set_back_neither_gives_nor_takes_tokens() -> None:
    line = Line(QueuePolicy(rate_limit=RateLimit(jobs=1, per_seconds=10.0)), 1000.0)
    for number in range(3):
        line.push(entry(str(number)))

    assert 1 == len(names(line, 1010.0))
    assert 0 == len(names(line, 10.0))
    assert 1 == len(names(line, 20.0))


def test_concurrency_of_the_queue_counts_live_attempts() -> None:
    line = Line(QueuePolicy(concurrency=1), 0.0)
    line.push(entry("a"))
    line.push(entry("b", 1.0))
    line.begin("x", "")

    assert line.pop(9.0) is None
    line.end("x", "")
    line.end("x", "")  # said twice: nothing is counted down
    assert "a" == line.pop(9.0).uid  # type: ignore[union-attr]


@given(
    jobs=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["", "k"]), st.sampled_from([0.0, 50.0])), max_size=12),
    paused=st.booleans(), running=st.integers(0, 2),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_explain_says_next_exactly_when_pop_takes_it(jobs, paused, running) -> None:
    line = Line(QueuePolicy(paused=paused, concurrency=2, key_concurrency=1), 0.0)
    for number, (priority, key, later) in enumerate(jobs):
        line.push(entry(str(number), float(number), priority=priority, concurrency_key=key, not_before=later))
    for number in range(running):
        line.begin(f"r{number}", "k" if number else "")

    told = [n for n in map(str, range(len(jobs))) if explain(line, n, now=20.0, free_slots=1).reason == "Next"]  # type: ignore[union-attr]
    taken = line.pop(20.0)

    assert told == ([taken.uid] if taken else [])


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (QueuePolicy(paused=True), "Paused"),
        (QueuePolicy(concurrency=1), "ConcurrencyReached"),
        (QueuePolicy(key_concurrency=1), "KeyConcurrencyReached"),
        (QueuePolicy(rate_limit=RateLimit(jobs=1, per_seconds=1000.0)), "RateLimited"),
        (QueuePolicy(), "NoFreeSlot"),
    ],
)
def test_explain_names_what_blocks(policy: QueuePolicy, reason: str) -> None:
    line = Line(policy, 0.0)
    line.push(entry("job", concurrency_key="k"))
    line.begin("other", "k")

    assert reason == explain(line, "job", now=1.0, free_slots=0).reason  # type: ignore[union-attr]


def test_explain_reads_held_jobs_aloud() -> None:
    line = Line(QueuePolicy(), 0.0)
    line.hold(entry("child"), "dependencies")

    found = explain(line, "child", now=0.0, free_slots=1, waits_for=("parent",))

    assert ("Dependencies", ("parent",)) == (found.reason, found.waits_for)  # type: ignore[union-attr]
    assert explain(line, "stranger", now=0.0, free_slots=1) is None


class CountingHeap:
    """Counts the comparisons that heap operations make, which is what must not grow with the line."""

    def __init__(self) -> None:
        self.steps = 0

    def __getattr__(self, name: str) -> object:
        operation = getattr(heapq, name)

        def counted(heap: list[object], *rest: object) -> object:
            self.steps += max(1, len(heap).bit_length())
            return operation(heap, *rest)

        return counted


def test_taking_a_job_costs_no_more_than_a_few_heap_steps_at_100_000(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps_per_job(size: int) -> float:
        rng = random.Random(7)
        line = Line(QueuePolicy(), 0.0)
        heap = CountingHeap()
        monkeypatch.setattr(line_module, "heapq", heap)
        monkeypatch.setattr(lane_module, "heapq", heap)
        for number in range(size):
            line.push(entry(str(number), float(number), priority=rng.randrange(4), fairness_key=str(rng.randrange(9))))
        names(line)
        return heap.steps / size

    small, large = steps_per_job(1_000), steps_per_job(100_000)

    # 100 times as many jobs may cost log2(100) ≈ 6.6 more steps in each of the handful of heaps, not 100 times as many.
    assert large < small * 2.5


def test_a_job_leaves_the_line_as_it_came() -> None:
    line = Line(QueuePolicy(), 0.0)
    came = Entry("a", 1.0, 2, "fair", "key", 0.0, "lane", many=True)
    line.push(came)
    left = line.remove("a")

    assert left is not None
    assert dataclasses.asdict(left) == dataclasses.asdict(came) | {"place": ""}


def test_priorities_of_the_past_are_not_kept() -> None:
    """Thirty thousand of them stayed in memory, and every status walked through them."""
    line = Line(QueuePolicy(), 0.0)
    for number in range(3000):
        line.push(Entry(str(number), float(number), priority=number))
    for number in range(1000):
        line.remove(str(number * 3))
    while line.pop(5000.0) is not None:
        pass
    assert line.oldest(5000.0) is None
    assert not any(lane._levels for lane in line._lanes.values())
    assert len(line._turns) <= REMEMBERED_PRIORITIES


def test_who_left_is_not_kept_behind_somebody_who_stays() -> None:
    line = Line(QueuePolicy(), 0.0)
    line.push(Entry("stays", 0.0, priority=10**6))
    for number in range(1, 5000):
        line.push(Entry(str(number), float(number), priority=number))
        line.remove(str(number))

    assert (1, 0.0) == (line.depth(1e6), line.oldest(1e6))
    assert max(len(line._ages), *(len(lane._levels) for lane in line._lanes.values())) < 4 * REMEMBERED_PRIORITIES
