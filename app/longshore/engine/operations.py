"""The engine's operations: what the api may ask of any engine, one method per word of the socket."""

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from longshore.engine.rpc import VERSION, Peer, Request
from longshore.errors import Conflict, InvalidRequest, LongshoreError

if TYPE_CHECKING:
    from longshore.engine.host import SlotHost

Doc = dict[str, object]


class Operations:
    """Serves the socket. Every ``_op_…`` gets the peer and the request, and answers now or later."""

    def __init__(self, engine: "SlotHost") -> None:
        self._host = engine
        self._counting = ""
        """The api process that was heard last."""

    def serve(self, peer: Peer, request: Request) -> None:
        """Answer a request; a wrong one gets an error, never an exception in the loop."""
        operation: Callable[[Peer, Request], None] | None = getattr(self, f"_op_{request.get('op')}", None)
        try:
            if request.get("v") != VERSION or operation is None:
                raise InvalidRequest(f"no operation {request.get('op')!r} in version {request.get('v')!r}")
            operation(peer, request)
        except LongshoreError as error:
            self._refused(request, error)
            peer.fail(error)
        except Exception as error:
            # A fault, of the peer's or of ours: it costs this turn and nothing that runs.
            self._abandon()
            self._broken(peer, error)

    def _abandon(self) -> None:
        """An operation broke half way."""

    def _broken(self, peer: Peer, error: Exception) -> None:
        self._host.journal("operation_failed", level="error", traceback="".join(traceback.format_exception(error)))
        peer.fail(LongshoreError("the engine could not do this; its log says why"))

    def _refused(self, request: Request, error: LongshoreError) -> None:
        """A request that is answered with an error."""

    def _guarded(self, peer: Peer, answer: Callable[[], None]) -> None:
        try:
            answer()
        except LongshoreError as error:
            peer.fail(error)
        except Exception as error:
            self._broken(peer, error)

    def _op_report_health(self, peer: Peer, request: Request) -> None:
        self._host.app_health.report(peer, [str(name) for name in cast("list[object]", request["failed"])])

    def _op_handlers(self, peer: Peer, _request: Request) -> None:
        peer.reply(sorted(self._host.handlers.values(), key=lambda info: str(info["name"])))

    def _op_workers(self, peer: Peer, _request: Request) -> None:
        host = self._host
        peer.reply([{
            "name": host.worker, "boot": host.boot, "draining": host.draining, "slots": host.pool.size,
            "free": host.free_slots(), "handlers": sorted(host.handlers), "running": host.running_docs(),
        }])  # fmt: skip

    def _op_status(self, peer: Peer, request: Request) -> None:
        peer.reply(self._host.status(details=bool(request.get("details"))))

    def _op_drain(self, peer: Peer, request: Request) -> None:
        self._host.drain(on=bool(request["on"]))
        peer.reply(self._host.status(details=False))

    def _op_reload(self, peer: Peer, _request: Request) -> None:
        peer.fail(Conflict("a worker gets new code with a new pod; only `longshore serve` is reloaded"))

    def _op_metrics(self, peer: Peer, _request: Request) -> None:
        peer.reply(self._host.metric_families())

    def _op_add_counts(self, peer: Peer, request: Request) -> None:
        """Metrics of applications, as the api process has counted them; the process before it has ended."""
        source, changes = str(request["source"]), request["changes"]
        if source != self._counting:
            self._host.app_metrics.forget(self._counting)
            self._counting = source
        self._host.app_metrics.apply(source, changes if isinstance(changes, list) else [])
        peer.reply(None)
