"""Keys of a webhook's secret, and what a receiver asks for."""

import base64

import pytest

from longshore.job.receiver import Refused
from longshore.job.webhook import SCHEDULE_SECONDS, next_attempt, retry_after, signing_keys

KEY = bytes(range(24, 56))
TEXT = base64.b64encode(KEY).decode()
NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    "text",
    [TEXT, f"whsec_{TEXT}", TEXT.rstrip("="), f"\ufeffwhsec_{TEXT}\r\n", f"# since May\n\n{TEXT}  # of billing\n",
     base64.urlsafe_b64encode(KEY).decode()],
)  # fmt: skip
def test_a_key_is_read_however_it_is_written(text: str) -> None:
    """By a person, with an editor."""
    assert signing_keys("s", text) == [KEY]


@pytest.mark.parametrize(
    ("text", "why"),
    [("whsec_", "line 1: a key of 0 bytes"), ("", "no key"), ("# none\n", "no key"), (f"{TEXT}\nwhsec_YWJj", "line 2: a key of 3"),
     ("not base64!", "line 1: is no base64"), (base64.b64encode(bytes(65)).decode(), "65 bytes"), ("A" * 33, "no base64")],
)  # fmt: skip
def test_what_is_no_key_is_refused_with_its_line(text: str, why: str) -> None:
    """Nothing is signed with less than a key, and the text itself is not repeated."""
    with pytest.raises(Refused, match=why) as refused:
        signing_keys("s", text)
    assert "YWJj" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120.0), (" 7 ", 7.0), ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0), ("", 0.0), ("\u00b2", 0.0), ("-1", 0.0), ("soon", 0.0),
     ("9" * 64, 9_999_999_999.0)],
)  # fmt: skip
def test_a_receiver_may_ask_to_be_left_alone(text: str, seconds: float) -> None:
    """In seconds, or until a date; nonsense asks for nothing."""
    assert retry_after(text, NOW) == seconds


def test_what_a_receiver_asks_for_counts_when_it_is_longer() -> None:
    """And no longer than the longest pause of our own."""
    assert next_attempt(1, NOW, lambda: 0.0, asked=60) == NOW + 60
    assert next_attempt(2, NOW, lambda: 0.0, asked=60) == NOW + SCHEDULE_SECONDS[2]
    assert next_attempt(1, NOW, lambda: 0.0, asked=1e9) == NOW + SCHEDULE_SECONDS[-1]
    assert next_attempt(len(SCHEDULE_SECONDS), NOW, lambda: 0.0, asked=60) is None
