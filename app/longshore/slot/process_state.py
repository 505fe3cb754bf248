"""What a job can change in its process beside its own variables, put back before the next one begins.

``Snapshot()`` is taken when the slot is ready. ``restore()`` compares and puts back what differs; comparing is nearly
all there is to do, so it is made of cheap reads. What cannot be put back is a ``Taint``, for which the slot is
replaced. docs/handlers.md has the list for people.
"""

import _signal  # type: ignore[import-not-found]  # that of the signal module makes an enum of each answer
import _tracemalloc
import decimal
import gc
import locale
import os
import resource
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TextIO

from longshore.slot.frames import Taint
from longshore.slot.logging_state import LoggingState
from longshore.slot.loop_state import LoopState

MAX_LEFT_OPEN = 64  # descriptors: a few connections that live on are as it should be
COUNT_EVERY = 32  # jobs: the cheap look at descriptors misses holes below the lowest free one

_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_LIMITS = sorted({value for name, value in vars(resource).items() if name.startswith("RLIMIT_")})
_FORMAT = attrgetter("encoding", "errors", "line_buffering", "write_through")
_DECIMAL = attrgetter("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
# Replaced as a whole by those who replace them.
_SYS = (
    "excepthook",
    "unraisablehook",
    "displayhook",
    "breakpointhook",
    "dont_write_bytecode",
    "tracebacklimit",
)

Part = tuple[Callable[[], object], object, Callable[[Any], object]]
"""How to read it, what it was, how to put that back."""


class Snapshot:
    """The process as it was; ``restore`` makes it so again."""

    def __init__(self) -> None:
        self._environment = os.environ
        self._variables = _variables().copy()
        self._handlers = list(map(_signal.getsignal, _SIGNALS))
        self._folder = os.getcwd()
        self._umask = os.umask(0o22)
        os.umask(self._umask)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._streams = sys.stdout, sys.stderr
        self._stdin = sys.stdin
        self._null, self._output = _identity(0), _identity(1)
        self._parts = _parts()
        self._limits = list(map(resource.getrlimit, _LIMITS))
        self._users = os.getresuid(), os.getresgid()
        self._logging, self._loop = LoggingState(), LoopState()
        self._decimal = decimal.getcontext().copy()
        self._lowest = _lowest_free()
        self._jobs = 0

    def enter(self) -> None:
        """Called in a job's own ``contextvars.Context`` before it begins."""
        decimal.setcontext(self._decimal.copy())  # it is changed in place, and a copied context shares it

    def restore(self) -> Taint | None:
        """Put back what the job changed; the reason to replace the slot if something cannot be."""
        self._jobs += 1
        self._restore_timers_and_signals()
        taint = self._restore_streams()
        self._restore_environment()
        os.umask(self._umask)
        try:
            os.chdir(self._folder)
        except OSError:
            pass  # somebody removed it: the next job is no worse off than this one was
        self._loop.restore()
        self._logging.restore()
        for read, saved, write in self._parts:
            if read() != saved:
                try:
                    write(saved)
                except Exception:
                    taint = taint or Taint.LIMITS
        return taint or self._restore_limits() or self._descriptors()

    def _restore_timers_and_signals(self) -> None:
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        signal.set_wakeup_fd(-1)
        if list(map(_signal.getsignal, _SIGNALS)) != self._handlers:
            for number, handler in zip(_SIGNALS, self._handlers, strict=True):
                if _signal.getsignal(number) != handler:
                    # None: not set by Python before; then it was as the kernel has it.
                    signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if signal.pthread_sigmask(signal.SIG_BLOCK, ()) != self._mask:
            while waiting := signal.sigpending():  # for the job that blocked them
                signal.sigtimedwait(waiting, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _restore_streams(self) -> Taint | None:
        replaced = (sys.stdout, sys.stderr) if (sys.stdout, sys.stderr) != self._streams else ()
        self._flush(*replaced, *self._streams)
        sys.stdout, sys.stderr = self._streams
        found = [_identity(0), _identity(1), _identity(2)]
        if found != [self._null, self._output, self._output]:
            if self._output not in found[1:]:
                return Taint.DESCRIPTORS
            for descriptor in (1, 2):
                if found[descriptor] != self._output:
                    os.dup2(3 - descriptor, descriptor)
            if found[0] != self._null:
                null = os.open(os.devnull, os.O_RDONLY)
                if null:
                    os.dup2(null, 0)
                    os.close(null)
            self._flush(*self._streams)  # what could not go to a descriptor that was closed
        if sys.stdin is not self._stdin or self._stdin.closed:
            sys.stdin = self._stdin = open(0, closefd=False) if self._stdin.closed else self._stdin
        return Taint.DESCRIPTORS if any(stream.closed for stream in self._streams) else None

    @staticmethod
    def _flush(*streams: TextIO) -> None:
        for stream in streams:
            try:
                stream.flush()
            except Exception:
                pass  # closed, or no stream at all: it is given up

    def _restore_environment(self) -> None:
        if os.environ is not self._environment:
            os.environ = self._environment  # noqa: B003  # put back what a job put in its place
        if _variables() != self._variables:
            for name in _variables().keys() - self._variables.keys():
                del os.environb[name]
            os.environb.update(self._variables)
            time.tzset()

    def _restore_limits(self) -> Taint | None:
        if (os.getresuid(), os.getresgid()) != self._users:
            return Taint.USER
        if (found := list(map(resource.getrlimit, _LIMITS))) != self._limits:
            try:
                for number, now, saved in zip(_LIMITS, found, self._limits, strict=True):
                    if now != saved:
                        resource.setrlimit(number, saved)
            except (OSError, ValueError):
                return Taint.LIMITS
        return None

    def _descriptors(self) -> Taint | None:
        """Whether more were left open than a few connections."""
        try:
            left = _lowest_free() - self._lowest
            if self._jobs % COUNT_EVERY == 0:
                left = max(left, len(os.listdir("/proc/self/fd")) - self._lowest - 1)
        except OSError:
            return Taint.DESCRIPTORS  # none are left
        return Taint.DESCRIPTORS if left > MAX_LEFT_OPEN else None


def _parts() -> list[Part]:
    """All that is read and written by a function each."""
    parts: list[tuple[Callable[[], object], Callable[[Any], object]]] = [
        (sys.getrecursionlimit, sys.setrecursionlimit),
        (sys.getswitchinterval, sys.setswitchinterval),
        (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
        (sys.gettrace, sys.settrace),
        (sys.getprofile, sys.setprofile),
        (threading.gettrace, threading.settrace),
        (threading.getprofile, threading.setprofile),
        (lambda: threading.excepthook, lambda saved: setattr(threading, "excepthook", saved)),
        (threading.stack_size, threading.stack_size),
        (socket.getdefaulttimeout, socket.setdefaulttimeout),
        (lambda: locale.setlocale(locale.LC_ALL), lambda saved: locale.setlocale(locale.LC_ALL, saved)),
        (lambda: time.tzname, lambda _saved: time.tzset()),
        (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        (gc.get_debug, gc.set_debug),
        (_tracemalloc.is_tracing, lambda _saved: _tracemalloc.stop()),
        (lambda: getattr(sys.modules.get("tempfile"), "tempdir", None), _set_temporary_folder),
        (lambda: _FORMAT(sys.stdout), lambda saved: _reconfigure(sys.stdout, saved)),
        (lambda: _FORMAT(sys.stderr), lambda saved: _reconfigure(sys.stderr, saved)),
        (gc.get_threshold, lambda saved: gc.set_threshold(*saved)),
        (lambda: os.getpriority(os.PRIO_PROCESS, 0), lambda saved: os.setpriority(os.PRIO_PROCESS, 0, saved)),
        (lambda: os.sched_getaffinity(0), lambda saved: os.sched_setaffinity(0, saved)),
        (lambda: _DECIMAL(decimal.DefaultContext), _set_decimal),
        (lambda: warnings.filters, _set_filters),
        (lambda: warnings.showwarning, lambda saved: setattr(warnings, "showwarning", saved)),
        (lambda: warnings.formatwarning, lambda saved: setattr(warnings, "formatwarning", saved)),
    ]
    found: list[Part] = [(read, _copied(read()), write) for read, write in parts]
    found += [_attribute(name) for name in _SYS if hasattr(sys, name)]
    found += [_list(each) for each in (sys.argv, sys.path, sys.meta_path, sys.path_hooks, sys.warnoptions)]
    return found


def _attribute(name: str) -> Part:
    return lambda: getattr(sys, name, None), getattr(sys, name), lambda saved: setattr(sys, name, saved)


def _list(found: list[Any]) -> Part:
    name = next(name for name, value in vars(sys).items() if value is found)

    def write(saved: list[Any]) -> None:
        found[:] = saved
        setattr(sys, name, found)

    return lambda: getattr(sys, name, None), list(found), write


def _copied(value: object) -> object:
    if isinstance(value, list):
        return list(value)
    if isinstance(value, tuple):  # of a decimal context, whose traps live on
        return tuple(dict(part) if hasattr(part, "keys") else part for part in value)
    return value


def _set_decimal(saved: tuple[Any, ...]) -> None:
    context = decimal.DefaultContext
    context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp = saved[:6]
    context.traps.update(saved[6])


def _set_temporary_folder(saved: str | None) -> None:
    if (tempfile := sys.modules.get("tempfile")) is not None:
        vars(tempfile)["tempdir"] = saved


def _reconfigure(stream: Any, saved: tuple[Any, ...]) -> None:
    encoding, errors, line_buffering, write_through = saved
    stream.reconfigure(encoding=encoding, errors=errors, line_buffering=line_buffering, write_through=write_through)


def _set_filters(saved: list[Any]) -> None:
    warnings.filters = list(saved)
    with warnings.catch_warnings():
        pass  # leaving it tells the interpreter that the filters are others


def _variables() -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # decoding them all costs as much as a job
    return found


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _lowest_free() -> int:
    found = os.dup(1)
    os.close(found)
    return found
