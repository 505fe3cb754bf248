"""A timer by the clock of the wall, for times of day: it fires when the system's clock shows them.

A monotonic timer would be wrong when the clock is set, and late by the whole nap of a laptop that sleeps. Looking at the
clock now and then would wake a process that has nothing to do. Linux has both in one descriptor (``timerfd_create(2)``):
it fires at an absolute time, and at once when somebody sets the clock (``TFD_TIMER_CANCEL_ON_SET``).
"""

import ctypes
import errno
import os
from collections.abc import Callable

from longshore.engine.loop import READ, Loop

_CLOCK_REALTIME = 0
_ABSOLUTE, _CANCEL_ON_SET = 1, 2
_NANOSECONDS = 1_000_000_000


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


class WallClock:
    """Calls ``call(was_set)`` once per ``wake_at``; ``was_set`` when the system's clock was set before that time came."""

    def __init__(self, loop: Loop, call: Callable[[bool], None]) -> None:
        self._loop, self._call = loop, call
        self._fd = -1  # made when there is something to wait for
        self._libc = ctypes.CDLL(None, use_errno=True)

    def wake_at(self, when: float | None) -> None:
        """Wake at this time (seconds since the epoch) in place of the one before; None: never. Raises OSError."""
        if self._fd < 0:
            if when is None:
                return
            self._fd = self._made()
            self._loop.watch(self._fd, READ, self._ready)
        # A time of zero would switch the timer off: a time that has passed fires at once.
        nanoseconds = 0 if when is None else max(1, round(when * _NANOSECONDS))
        value = _Time(*divmod(nanoseconds, _NANOSECONDS))
        if not self._armed(value, _ABSOLUTE | _CANCEL_ON_SET):
            self._armed(value, _ABSOLUTE)  # gVisor knows no other flag

    def close(self) -> None:
        """Wake no more."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _made(self) -> int:
        fd: int = self._libc.timerfd_create(_CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return fd

    def _armed(self, value: _Time, flags: int) -> bool:
        setting = _Setting(_Time(0, 0), value)
        if self._libc.timerfd_settime(self._fd, flags, ctypes.byref(setting), None) == 0:
            return True
        # The clock was set since the last call; the timer is armed all the same, for a time of the new clock.
        return ctypes.get_errno() == errno.ECANCELED

    def _ready(self, _events: int) -> None:
        try:
            os.read(self._fd, 8)
            was_set = False
        except BlockingIOError:
            return  # armed anew since it fired
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            was_set = True
        self._call(was_set)
