"""Sends webhooks: a process of its own, so that a slow or hostile receiver can never hold up the engine.

Reads one JSON line per delivery from the socket that is its standard input and answers with one line each:
``{"id", "url", "secret_ref", "body"}`` → ``{"id", "result", "detail"}`` where result is delivered, refused (never
try again) or failed. Signs as Standard Webhooks 1.0 says. Ends by itself when its parent does or has nothing to send.
"""

import http.client
import select
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from longshore.job.webhook import (
    MAX_IN_FLIGHT,
    TIMEOUT_SECONDS,
    Refused,
    check_address,
    headers,
    outcome,
    signing_keys,
)
from longshore.version import __version__

IDLE_SECONDS = 60.0


def resolve(host: str, port: int, *, allow_local: bool) -> str:
    """The address to connect to; all that the name stands for are checked, so that none can be slipped in."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]).split("%")[0] for entry in found]
    for address in addresses:
        check_address(address, allow_local=allow_local)
    return addresses[0]


def secrets(directory: str, name: str) -> list[bytes]:
    """Keys to sign with, one per line of the file (several while they are being rotated); raises Refused."""
    if not directory:
        raise Refused("the job names a secret, but secrets_dir is not set")
    try:
        text = (Path(directory) / name).read_text()
    except (OSError, ValueError) as error:
        raise Refused(f"secret {name} cannot be read: {type(error).__name__}") from error
    return signing_keys(name, text)


def post(
    url: str, body: bytes, headers: dict[str, str], *, allow_local: bool, timeout: float = TIMEOUT_SECONDS
) -> int:  # fmt: skip
    """POST and return the status; connects to the very address that was checked, follows no redirect."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = resolve(host, port, allow_local=allow_local)
    sock = socket.create_connection((address, port), timeout=timeout)
    # Each byte starts a socket's own time-out anew. This handle on the connection ends all of it, wherever it is.
    handle = sock.dup()
    ends = threading.Timer(timeout, _hang_up, [handle])
    ends.start()
    try:
        if parts.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.sock = sock
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        ends.cancel()
        ends.join()
        handle.close()
        sock.close()


def _hang_up(handle: socket.socket) -> None:
    try:
        handle.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was first


def deliver(delivery: dict[str, str], *, secrets_dir: str, allow_local: bool) -> dict[str, str]:
    """Send one and say how it went: ``{id, result, detail}``."""
    try:
        status = _send(delivery, secrets_dir=secrets_dir, allow_local=allow_local)
    except Refused as error:
        return {"id": delivery["id"], "result": "refused", "detail": str(error)}
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {"id": delivery["id"], "result": "failed", "detail": f"{type(error).__name__}: {error}"}
    return {"id": delivery["id"], "result": outcome(status).value, "detail": f"HTTP {status}"}


def _send(delivery: dict[str, str], *, secrets_dir: str, allow_local: bool) -> int:
    body = delivery["body"].encode()
    name = delivery["secret_ref"]
    keys = secrets(secrets_dir, name) if name else []
    given = headers(delivery["id"], int(time.time()), body, keys, f"longshore/{__version__}")
    return post(delivery["url"], body, given, allow_local=allow_local)


def main() -> None:
    """Serve the engine over the socket on standard input until it closes or falls silent."""
    boot = orjson.loads(sys.argv[1])
    wire = socket.socket(fileno=0)
    buffer = b""
    with ThreadPoolExecutor(MAX_IN_FLIGHT) as senders:

        def send(line: bytes) -> None:
            answer = deliver(orjson.loads(line), **boot)
            wire.sendall(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))

        while select.select([wire], [], [], IDLE_SECONDS)[0]:
            if not (data := wire.recv(65536)):
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                senders.submit(send, line)


if __name__ == "__main__":
    main()
