"""Fails as often as it is told to, to see retries at work."""

from longshore import Context, handler


class Unlucky(Exception):
    """What ``fail`` raises."""


@handler
def fail(times: int = 1, message: str = "as you wished", *, ctx: Context) -> dict[str, int]:
    """Raise on the first ``times`` attempts, then return the attempt's number."""
    print(f"attempt {ctx.attempt} of {ctx.job}")
    if ctx.attempt <= times:
        raise Unlucky(message)
    return {"attempt": ctx.attempt}
