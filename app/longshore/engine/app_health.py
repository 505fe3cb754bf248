"""What the api process says of the applications' readiness checks.

The engine never runs or awaits a check. It keeps what was reported last, adds it to its own readiness, and, when
somebody has probed, answers the open report, so that the api process looks again. A check that hangs is a report that says
so; an api process that died is started again, and reports anew.
"""

from collections.abc import Sequence

from longshore.engine.rpc import Peer


class AppHealth:
    """The last report, and who waits for the next probe."""

    def __init__(self) -> None:
        self.failed: tuple[str, ...] = ()
        """Names of the readiness checks that fail."""
        self._reporter: Peer | None = None

    def report(self, peer: Peer, failed: Sequence[str]) -> None:
        """Take a report, which is answered after the next probe."""
        self.failed = tuple(failed)
        self._reporter = peer

    def probed(self) -> None:
        """Somebody asked: time to look again."""
        reporter, self._reporter = self._reporter, None
        if reporter is not None and not reporter.gone:
            reporter.reply(None)
