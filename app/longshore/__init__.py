"""Background jobs in warm processes. This is the surface for applications; it is small on purpose.

``handler`` registers a function, ``Context`` is what it learns of its job, ``health_check`` registers a check,
``on_template_start``, ``on_slot_start``, ``on_slot_stop``, ``on_api_start`` and ``on_api_stop`` what a process does first
and last, ``JobCancelled`` is what cancelling raises inside a handler, ``Retry`` describes a back-off, ``app_settings``
reads settings of the application's own, ``Counter``, ``Gauge`` and ``Histogram`` are metrics, ``current_longshore`` is a client for jobs of their own,
``typed`` makes type hints the contract of a view.

A name is imported when it is asked for: processes that hold no application, such as gunicorn's arbiter, do without
pydantic and what else comes with them, ten megabytes each.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from longshore.version import __version__

if TYPE_CHECKING:
    from longshore.api.typed_views import typed
    from longshore.app_metrics.metrics import Counter, Gauge, Histogram
    from longshore.application_settings import app_settings
    from longshore.current import current_longshore
    from longshore.handlers import Context, JobCancelled, handler
    from longshore.health_checks import health_check
    from longshore.hooks import on_api_start, on_api_stop, on_slot_start, on_slot_stop, on_template_start
    from longshore.job.spec import Retry

__all__ = [
    "Context",
    "Counter",
    "Gauge",
    "Histogram",
    "JobCancelled",
    "Retry",
    "__version__",
    "app_settings",
    "current_longshore",
    "handler",
    "health_check",
    "on_api_start",
    "on_api_stop",
    "on_slot_start",
    "on_slot_stop",
    "on_template_start",
    "typed",
]

_HOMES = {
    "Counter": "longshore.app_metrics.metrics",
    "Gauge": "longshore.app_metrics.metrics",
    "Histogram": "longshore.app_metrics.metrics",
    "Retry": "longshore.job.spec",
    "app_settings": "longshore.application_settings",
    "current_longshore": "longshore.current",
    "health_check": "longshore.health_checks",
    "on_api_start": "longshore.hooks",
    "on_api_stop": "longshore.hooks",
    "on_slot_start": "longshore.hooks",
    "on_slot_stop": "longshore.hooks",
    "on_template_start": "longshore.hooks",
    "typed": "longshore.api.typed_views",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES.get(name, "longshore.handlers")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
