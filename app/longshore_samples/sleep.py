"""Sleeps, says how far it is, and stops when it is asked to."""

import time

from longshore import Context, handler


@handler
def sleep(seconds: float = 1.0, steps: int = 10, *, ctx: Context) -> dict[str, float]:
    """Sleep in steps and report progress after each; returns how long it slept."""
    started = time.monotonic()
    for step in range(max(1, steps)):
        if ctx.cancelled:
            break
        time.sleep(seconds / max(1, steps))
        ctx.progress(100 * (step + 1) / max(1, steps), f"step {step + 1} of {steps}")
    return {"slept": round(time.monotonic() - started, 3)}
