"""A load generator that is cheap enough to share the machine: raw sockets, one thread, prepared bytes.

An ordinary client library costs as much of the processor as the service it measures, and on few cores that is what one
would measure. Every connection sends its next request when the answer to its last has come.
"""

import selectors
import socket
import time


class _Connection:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.begun = 0.0

    def send(self, request: bytes) -> None:
        self.begun = time.perf_counter()
        self.sock.sendall(request)

    def done(self) -> bool:
        """Read what has come; whether the answer is whole."""
        self.data += self.sock.recv(1 << 18)
        head, gap, body = self.data.partition(b"\r\n\r\n")
        if not gap:
            return False
        at = head.lower().index(b"content-length:") + 15
        if len(body) < int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else None]):
            return False
        assert head[9:10] == b"2", self.data[:300]
        self.data = b""
        return True


def load(
    port: int, clients: int, body: bytes, headers: dict[str, str], seconds: float, path: str = "/v1/jobs"
) -> tuple[float, list[float]]:
    """Requests per second, and all latencies in milliseconds, sorted."""
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    request = head.encode() + b"\r\n" + body
    selector, latencies = selectors.DefaultSelector(), list[float]()
    connections = [_Connection(port) for _ in range(clients)]
    begun = time.perf_counter()
    for connection in connections:
        selector.register(connection.sock, selectors.EVENT_READ, connection)
        connection.send(request)
    open_ = clients
    while open_:
        for key, _ in selector.select():
            connection = key.data
            if not connection.done():
                continue
            now = time.perf_counter()
            latencies.append((now - connection.begun) * 1000)
            if now - begun < seconds:
                connection.send(request)
            else:
                selector.unregister(connection.sock)
                connection.sock.close()
                open_ -= 1
    selector.close()
    return len(latencies) / (time.perf_counter() - begun), sorted(latencies)
