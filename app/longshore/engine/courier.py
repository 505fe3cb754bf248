"""Sends webhooks: a process of its own, so that a slow or hostile receiver can never hold up the engine.

Reads one JSON line per delivery from the socket that is its standard input and answers with one line each:
``{"id", "url", "secret_ref", "body"}`` → ``{"id", "result", "detail", "after"}`` where result is delivered, refused (never
try again) or failed, and after says for how many seconds the receiver asked to be left alone. Signs as Standard Webhooks 1.0 says. Ends by itself when its parent does or has nothing to send.
"""

import http.client
import select
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from longshore.addresses import is_own
from longshore.job.receiver import Refused, check_address, receiver
from longshore.job.webhook import (
    MAX_IN_FLIGHT,
    MAX_SECRET_BYTES,
    TIMEOUT_SECONDS,
    headers,
    outcome,
    retry_after,
    signing_keys,
)
from longshore.version import __version__

IDLE_SECONDS = 60.0
MAX_DETAIL = 1024


def resolve(host: str, port: int, *, allow_local: bool) -> str:
    """The address to connect to; all that the name stands for are checked, so that none can be slipped in."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]).split("%")[0] for entry in found]
    for address in addresses:
        check_address(address, allow_local=allow_local, own=is_own)
    return addresses[0]


def secrets(directory: str, name: str) -> list[bytes]:
    """Keys to sign with, one per line of the file (several while they are being rotated); raises Refused."""
    if not directory:
        raise Refused("the job names a secret, but secrets_dir is not set")
    try:
        with (Path(directory) / name).open(encoding="utf-8") as file:
            text = file.read(MAX_SECRET_BYTES)
    except (OSError, ValueError) as error:
        raise Refused(f"secret {name} cannot be read: {type(error).__name__}") from error
    return signing_keys(name, text)


def post(
    url: str, body: bytes, headers: dict[str, str], *, allow_local: bool, timeout: float = TIMEOUT_SECONDS
) -> tuple[int, float]:
    """POST; status, and the seconds of its Retry-After. Connects to the very address that was checked, follows no redirect."""
    try:
        to = receiver(url)
    except ValueError as error:  # stored by a release that knew less
        raise Refused(f"the url {error}") from None
    address = resolve(to.host, to.port, allow_local=allow_local)
    sock = socket.create_connection((address, to.port), timeout=timeout)
    # Each byte starts a socket's own time-out anew. This handle on the connection ends all of it, wherever it is.
    handle = sock.dup()
    ends = threading.Timer(timeout, _hang_up, [handle])
    ends.start()
    try:
        if to.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=to.host)
        connection = http.client.HTTPConnection(to.host, to.port, timeout=timeout)
        connection.sock = sock
        connection.request("POST", to.target, body, {**headers, "Host": to.origin})
        answer = connection.getresponse()  # at most a hundred header lines; the body is not read
        return answer.status, retry_after(answer.headers.get("Retry-After", ""), time.time())
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


def deliver(delivery: dict[str, str], *, secrets_dir: str, allow_local: bool) -> dict[str, object]:
    """Send one and say how it went: ``{id, result, detail, after}``. Whatever happens is this delivery's own trouble."""
    result, detail, after = "failed", "", 0.0
    try:
        status, after = _send(delivery, secrets_dir=secrets_dir, allow_local=allow_local)
        result, detail = outcome(status).value, f"HTTP {status}"
    except Refused as error:
        result, detail = "refused", str(error)
    except Exception as error:  # a receiver is a stranger; what it makes a library raise is in no list
        detail = f"{type(error).__name__}: {error}"
    return {"id": delivery["id"], "result": result, "detail": detail[:MAX_DETAIL], "after": after}


def _send(delivery: dict[str, str], *, secrets_dir: str, allow_local: bool) -> tuple[int, float]:
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
