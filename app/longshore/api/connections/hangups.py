"""Notices callers that leave while a thread waits for them: a long poll, a wait for a job's end, a stream.

A connection is watched from its first wait until it is closed, so that of many waits on a kept connection only the first
costs a system call. The kernel tells of its end alone (EPOLLRDHUP), never of bytes: those of the next request, which may come
before the answer of this one, hide no end.
"""

import contextlib
import logging
import select
import selectors

from longshore.store.waiting_caller import WaitingCaller

# Below TLS: the caller's FIN or its RST. Edge-triggered, since it is told once; also when it came before the watch began.
_ENDS = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLET
_log = logging.getLogger("longshore.hangups")


class Hangups:
    """``watch`` is for the thread that has a connection's request, everything else for the poller's, which closes it."""

    def __init__(self, poller: selectors.BaseSelector) -> None:
        # selectors knows no EPOLLRDHUP; but an epoll is itself a descriptor for which the poller can wait.
        self._epoll = select.epoll()
        self._callers: dict[int, WaitingCaller] = {}
        self._poller = poller
        poller.register(self._epoll, selectors.EVENT_READ, self._notice)

    def watch(self, fd: int, caller: WaitingCaller) -> None:
        """Tell the caller object when the connection has ended."""
        self._callers[fd] = caller
        self._epoll.register(fd, _ENDS)

    def forget(self, fd: int) -> None:
        """The connection is about to be closed."""
        if self._callers.pop(fd, None) is not None:
            with contextlib.suppress(OSError):  # watched for this moment only
                self._epoll.unregister(fd)

    def close(self) -> None:
        """At the end of the poller."""
        self._poller.unregister(self._epoll)
        self._epoll.close()

    def _notice(self, _file: object) -> None:
        for fd, _ in self._epoll.poll(0):
            try:
                self._callers[fd].leave()
            except Exception:  # this one wait ends late; the poller goes on
                _log.exception("a wait could not be ended early")
