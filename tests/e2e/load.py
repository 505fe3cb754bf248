"""A caller inside the node's network: sends jobs through the api's Service, one after the other, and polls each to its end.

``python load.py URL TOKEN``; it stops sending at the end of standard input and prints ``{"sent", "ended", "failures"}`` as JSON.
"""

import json
import sys
import threading
import time
import urllib.error
import urllib.request

URL, TOKEN = sys.argv[1:]
END_SECONDS, PAUSE_SECONDS = 120.0, 0.05


def call(method: str, path: str, body: object = None) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def main() -> None:
    sent: list[str] = []
    ended: dict[str, int] = {}
    failures: list[str] = []
    over = threading.Event()

    def hear() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=hear, daemon=True).start()
    while not over.wait(PAUSE_SECONDS):
        try:
            job = {"handler": "sleep", "args": {"seconds": 0.5}, "maxRetries": 0}
            sent.append(str(call("POST", "/v1/jobs", job)["id"]))
            call("GET", f"/v1/jobs/{sent[len(sent) // 2]}")
        except (OSError, ValueError) as error:  # refused, reset, or an answer that is none
            text = error.read().decode() if isinstance(error, urllib.error.HTTPError) else ""
            failures.append(f"after {len(sent)}: {error!r} {text}")
    limit = time.monotonic() + END_SECONDS
    for name in sent:
        phase = "Pending"
        while phase in ("Pending", "Running") and time.monotonic() < limit:
            status = call("GET", f"/v1/jobs/{name}?wait=10")["status"]
            assert isinstance(status, dict)
            phase = str(status.get("phase", "Pending"))
        ended[phase] = ended.get(phase, 0) + 1
    print(json.dumps({"sent": len(sent), "ended": ended, "failures": failures}))


if __name__ == "__main__":
    main()
