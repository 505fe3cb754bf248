"""Counts words of a text, or of a file below the folder that the service was started in."""

import re
from collections import Counter
from pathlib import Path

from longshore import Context, handler

MAX_BYTES = 64 * 1024 * 1024


@handler
def wordcount(text: str = "", path: str = "", top: int = 10, *, ctx: Context) -> dict[str, object]:
    """Count words without regard to case; returns how many there are, how many differ, and the most frequent."""
    if bool(text) == bool(path):
        raise ValueError("give either text or path")
    counts: Counter[str] = Counter()
    lines = text.splitlines() if text else _lines(path)
    for number, line in enumerate(lines):
        counts.update(re.findall(r"\w+", line.lower()))
        if number % 10_000 == 0:
            ctx.progress(min(99.0, number / 1000), f"{number} lines")
            if ctx.cancelled:
                break
    return {"words": counts.total(), "different": len(counts), "top": counts.most_common(top)}


def _lines(path: str) -> list[str]:
    root = Path.cwd().resolve()
    file = (root / path).resolve()
    # Whoever may submit a job must not be able to read any file of this machine.
    if not file.is_relative_to(root):
        raise PermissionError(f"{path} lies outside the folder of the service")
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES} bytes")
    return file.read_text(errors="replace").splitlines()
