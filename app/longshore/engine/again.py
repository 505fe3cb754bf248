"""What follows by itself from what is kept, and was taken back when the disk refused it: decided anew when the disk works."""

from collections.abc import Callable


class Again:
    """Nobody asks for these decisions a second time: the end of a dependent, a start deadline."""

    def __init__(self) -> None:
        self._decisions: list[Callable[[float], None]] = []

    def add(self, decide: Callable[[float], None]) -> None:
        """Call ``decide(now)`` as soon as the disk works."""
        self._decisions.append(decide)

    def look(self, now: float) -> None:
        """The disk works."""
        decisions, self._decisions = self._decisions, []
        for decide in decisions:
            decide(now)
