"""The event loop policy of a slot, and the loop that a job left behind."""

import sys
from typing import Any


class LoopState:
    """What asyncio would give to somebody who asks for the loop; untouched as long as nobody has imported asyncio."""

    def __init__(self) -> None:
        self._policy = _policy()

    def restore(self) -> None:
        """Close a loop that was left, and put back the policy as it was: one that has given out no loop yet."""
        events = sys.modules.get("asyncio.events")
        if events is None or (policy := _policy()) is None:
            return
        events._set_running_loop(None)
        _close_loop_of(policy)
        if policy is not self._policy:
            put = getattr(events, "set_event_loop_policy", None) or events._set_event_loop_policy
            put(self._policy)
        elif (local := getattr(policy, "_local", None)) is not None:
            policy._local = type(local)()


def _policy() -> Any:
    return getattr(sys.modules.get("asyncio.events"), "_event_loop_policy", None)


def _close_loop_of(policy: Any) -> None:
    loop = getattr(getattr(policy, "_local", None), "_loop", None)
    try:
        if loop is not None and not loop.is_running() and not loop.is_closed():
            loop.close()
    except Exception:
        pass  # a loop of somebody's own making: it is let go all the same
