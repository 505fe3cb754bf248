"""Background jobs in warm processes. This is the surface for applications; it is small on purpose.

``handler`` registers a function, ``Context`` is what it learns of its job, ``health_check`` registers a check,
``on_slot_start`` and ``on_slot_stop`` what a slot does first and last, ``JobCancelled`` is what cancelling raises inside a handler, ``Retry`` describes a back-off.
"""

from longshore.handlers import Context, JobCancelled, handler, health_check, on_slot_start, on_slot_stop
from longshore.job.spec import Retry
from longshore.version import __version__

__all__ = [
    "Context",
    "JobCancelled",
    "Retry",
    "__version__",
    "handler",
    "health_check",
    "on_slot_start",
    "on_slot_stop",
]
