"""Job specifications as people might write them: all of them valid, many of them odd."""

from typing import Any

from hypothesis import strategies as st

MAX_SECONDS = 10 * 365 * 86_400
NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]{1,5}){0,2}", fullmatch=True)
LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
KEY = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=253)
WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
DELAY = st.one_of(st.integers(0, MAX_SECONDS), st.floats(0, MAX_SECONDS))
SECONDS = DELAY.filter(bool)
TIME = st.datetimes(timezones=st.timezones(no_cache=True)).filter(lambda time: time.year >= 1972).map(
    lambda time: time.isoformat(timespec="microseconds")
)  # fmt: skip
# Within 53 bits: the API server writes 2.5e+16 as 25000000000000000, which is another value to who tells 2.0 from 2.
LEAF = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-(2.0**53), 2.0**53) | WORD
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3), max_leaves=8
)
ARGS = st.dictionaries(WORD, JSON, max_size=4)
PATTERNS = st.lists(WORD.filter(bool), max_size=4, unique=True)

RETRY = st.fixed_dictionaries(
    {},
    optional={
        "initialSeconds": DELAY, "factor": st.floats(1, 100), "maxSeconds": DELAY, "jitter": st.floats(0, 1),
        "on": PATTERNS, "except": PATTERNS,
    },
)  # fmt: skip
WEBHOOK = st.fixed_dictionaries(
    {"url": st.sampled_from(["http://a", "https://example.com:8443/x?y=%20[z]", "https://[::1]/%C3%BC"])},
    optional={"secretRef": LABEL, "on": st.lists(st.sampled_from(["Succeeded", "Failed", "Cancelled"]), min_size=1, unique=True)},
)  # fmt: skip
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "queue": LABEL, "priority": st.integers(-1_000_000, 1_000_000) | st.just(7.0), "fairnessKey": KEY, "concurrencyKey": KEY,
    "startAfter": TIME, "startDeadlineSeconds": SECONDS, "timeoutSeconds": SECONDS, "maxRetries": st.integers(0, 1000),
    "retry": RETRY, "maxDisruptions": st.integers(0, 1000), "ttlSecondsAfterFinished": DELAY,
    "after": st.lists(NAME, max_size=3, unique=True), "webhook": WEBHOOK, "cancel": st.booleans(), "suspend": st.booleans(),
    "resources": st.fixed_dictionaries({}, optional={"memory": st.sampled_from(["1", "512Mi", "999999999999Ti"])}),
    "redrive": st.integers(0, 1_000_000), "count": st.integers(1, 10_000), "command": st.none(), "items": st.none(),
}  # fmt: skip
HANDLER = st.fixed_dictionaries(
    {"handler": st.from_regex(r"[A-Za-z_][A-Za-z0-9_.:-]{0,199}", fullmatch=True)},
    optional=COMMON | {"args": ARGS, "env": st.just({})},
)
ARRAY = st.fixed_dictionaries(
    {"handler": st.just("echo"), "items": st.lists(ARGS, min_size=1, max_size=4)},
    optional={name: value for name, value in COMMON.items() if name not in ("count", "items")}
    | {"args": ARGS, "parallelism": st.integers(1, 10_000), "count": st.none()},
)
COMMAND = st.fixed_dictionaries(
    {"command": st.lists(WORD, max_size=4).map(lambda words: ["/bin/true", *words])},
    optional={name: value for name, value in COMMON.items() if name != "command"}
    | {
        "handler": st.none(), "args": st.just({}),
        "env": st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,254}", fullmatch=True), WORD, max_size=4),
    },
)  # fmt: skip


def job_specs() -> st.SearchStrategy[dict[str, Any]]:
    """As JSON values, in the spelling of the interface."""
    return st.one_of(HANDLER, ARRAY, COMMAND)
