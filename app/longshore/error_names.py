"""Names in ``retry.on`` and ``retry.except`` of handlers: each has to be one that an error of theirs can have.

A name that is none would never match, and nobody would notice before the night in which it should have.
"""

import difflib
import importlib.util
import sys
from collections.abc import Iterable

from longshore.handlers import Handler
from longshore.job.status import Reason

_REASONS = frozenset(value for name, value in vars(Reason).items() if name.isupper())


def unknown(handlers: Iterable[Handler]) -> str:
    """A sentence for each name that is no class of an error here; empty when all are."""
    wanted = [
        (handler, name)
        for handler in handlers
        if (retry := handler.defaults.retry) is not None
        for name in (*retry.on, *retry.except_)
    ]
    if not wanted:
        return ""
    known = _known()
    return "\n".join(_said(handler, name, known) for handler, name in wanted if not _is_known(name, known))


def _known() -> set[str]:
    """Every class of an error that is loaded, by name and by module and name."""
    found, classes = set(_REASONS), [BaseException]
    seen: set[type] = set()
    for kind in classes:  # grows while it is walked through
        found |= {kind.__name__, f"{kind.__module__}.{kind.__qualname__}"}
        new = [each for each in type.__subclasses__(kind) if each not in seen]
        seen.update(new)
        classes += new
    return found


def _is_known(name: str, known: set[str]) -> bool:
    if name in known or (name.startswith("exit:") and name[5:].removeprefix("-").isdecimal()):
        return True
    module, _, kind = name.rpartition(".")
    if module and module not in sys.modules:
        # Imported later, by the handler itself: whether the name is right is seen then.
        try:
            if importlib.util.find_spec(module.partition(".")[0]) is None:
                return False
        except (ImportError, ValueError):
            return False
        return True
    found = getattr(sys.modules.get(module), kind, None)  # by another name than its own, as packages export theirs
    return isinstance(found, type) and issubclass(found, BaseException)


def _said(handler: Handler, name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (
        f"handler {handler.name!r} of {handler.module}: retry names {name!r}, which is no class of an error here{hint}"
    )
