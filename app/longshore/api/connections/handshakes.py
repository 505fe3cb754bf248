"""Steps of a socket that never blocks, with TLS or without: each says what it waits for, in the poller's terms."""

import selectors
import socket
import ssl

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a step raises that can go on later."""


def go_on(sock: socket.socket) -> int:
    """The handshake as far as it goes now: the events that it waits for, 0 when it is done. Raises OSError when it cannot be."""
    assert isinstance(sock, ssl.SSLSocket)
    try:
        sock.do_handshake()
    except ssl.SSLWantReadError:
        return READ
    except ssl.SSLWantWriteError:
        return WRITE
    return 0


def receive(sock: socket.socket, most: int) -> bytes | int:
    """What has come, empty at the end; or the events to wait for. TLS may give more than ``most``: what it holds already."""
    try:
        data = sock.recv(most)
    except (BlockingIOError, ssl.SSLWantReadError):
        return READ
    except ssl.SSLWantWriteError:
        # New keys (RFC 8446, 4.6.3) are answered before more is read. To wait for a read would be to spin: there is
        # something to read.
        return WRITE
    # The rest of a record lies in TLS already; the poller, which looks at the socket, would never tell of it.
    while isinstance(sock, ssl.SSLSocket) and (pending := sock.pending()):
        data += sock.recv(pending)
    return data


def say_goodbye(sock: socket.socket) -> None:
    """That no more comes; the caller's last bytes may still be read. Raises OSError when the caller is gone."""
    if isinstance(sock, ssl.SSLSocket):
        try:
            sock.unwrap()
        except LATER:
            pass  # said; the caller's own, which it waits for, is read as the end
    # Not by the method of a TLS socket, which would drop TLS: what still comes in would be read in the clear.
    socket.socket.shutdown(sock, socket.SHUT_WR)
