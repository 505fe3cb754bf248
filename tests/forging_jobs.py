"""Handlers that write on the socket of their slot, or return what no engine should have to read."""

import socket
import struct
import sys
import threading
import time
from pathlib import Path

import orjson

from longshore import handler


def own_nonce() -> str:
    """What the slot was told and the job was not, found in the slot's own variables."""
    frame = sys._getframe()
    while frame is not None:
        job = frame.f_locals.get("job")
        if isinstance(job, dict) and "nonce" in job:
            return str(job["nonce"])
        frame = frame.f_back  # type: ignore[assignment]  # None above the first
    return ""


def tell(body: bytes) -> None:
    """Write a frame as a slot would."""
    sock = socket.socket(fileno=3)
    sock.sendall(struct.pack(">I", len(body)) + body)
    sock.detach()


@handler
def forges(body: str, known: bool = False, go_on: str = "") -> str:
    """Say one's own end; with the nonce, if known; go on until a file is there."""
    tell(body.replace("NONCE", own_nonce() if known else "0123456789abcdef").encode())
    while go_on and not Path(go_on).exists():
        time.sleep(0.005)
    return "late"


@handler
def forges_much(megabytes: int, field: str = "result") -> str:
    """Say one's own end with more than anybody keeps."""
    done: dict[str, object] = {"outcome": "succeeded", "result": "x", "nonce": own_nonce()}
    if field != "result":
        done |= {"outcome": "failed", "reason": "HandlerError"}
    text = "z" * (megabytes << 20)
    done |= {field: [text, text] if field == "error" else text}
    tell(orjson.dumps({"done": done}))
    return "late"


@handler
def begins_a_frame() -> str:
    """Write the beginning of a frame that swallows what the slot says."""
    sock = socket.socket(fileno=3)
    sock.sendall(struct.pack(">I", 100_000) + b'{"done":')
    sock.detach()
    return "never told"


@handler
def forges_later(gate: str) -> str:
    """Leave a thread that tells the end of this job again, when another one runs."""
    nonce = own_nonce()

    def later() -> None:
        while not Path(gate).exists():
            time.sleep(0.002)
        tell(orjson.dumps({"done": {"outcome": "succeeded", "result": "made up", "nonce": nonce}}))

    threading.Thread(target=later, daemon=True).start()
    tell(orjson.dumps({"done": {"outcome": "succeeded", "result": "mine", "nonce": nonce}}))
    while True:
        time.sleep(0.01)


@handler
def nested(levels: int, how: str = "list") -> object:
    """Return lists in lists, built here or stored as JSON before."""
    if how == "fragment":
        return orjson.Fragment(b"[" * levels + b"]" * levels)
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@handler
def stored(text: str, encoding: str = "utf-8") -> object:
    """Return what was stored as JSON before, unread."""
    return orjson.Fragment(text.encode(encoding))
