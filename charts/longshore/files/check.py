"""What `helm test` runs, in the product's own image: `check.py health|http|resource`, told by variables CHECK_…

Standard library alone. Everything is tried again until the time is over: right after an install a Service may still refuse.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request

ACCOUNT = os.environ.get("CHECK_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount")
PAUSE_SECONDS = 1.0


class NotYetError(Exception):
    """It may come."""


def call(method: str, url: str, body: object = None, *, token: str = "", context: ssl.SSLContext | None = None) -> dict:
    """JSON of an answer; NotYetError for what may be tried again, SystemExit with the answer for what may not."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        if error.code in (401, 403, 404, 429) or error.code >= 500:
            raise NotYetError(f"{method} {url}: {error.code} {text}") from None
        sys.exit(f"{method} {url}: {error.code} {text}")
    except OSError as error:
        raise NotYetError(f"{method} {url}: {error}") from None


def read(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def token() -> str:
    """Of whoever may send jobs; none where the api asks for none."""
    path = os.environ.get("CHECK_TOKEN_FILE", "")
    return read(path) if path else ""


def authority() -> ssl.SSLContext | None:
    """Whose certificates the api may show; None where it speaks plain HTTP."""
    path = os.environ.get("CHECK_CA_FILE", "")
    return ssl.create_default_context(cafile=path) if path else None


def health() -> str:
    """The api is ready."""
    call("GET", os.environ["CHECK_URL"] + "/readyz", context=authority())
    return "the api is ready"


class Http:
    """A job over HTTP ends well."""

    def __init__(self) -> None:
        self.job = ""

    def __call__(self) -> str:
        url = os.environ["CHECK_URL"] + "/v1/jobs"
        if not self.job:
            wanted = {"handler": os.environ["CHECK_HANDLER"], "args": json.loads(os.environ["CHECK_ARGS"]),
                      "ttlSecondsAfterFinished": 600}  # fmt: skip
            self.job = call("POST", url, wanted, token=token(), context=authority())["id"]
        return ended(self.job, call("GET", f"{url}/{self.job}", token=token(), context=authority()))


class Resource:
    """A Job resource ends well."""

    def __init__(self) -> None:
        self.job = ""
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        server = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        self.url = f"{server}/apis/longshore.dev/v1alpha1/namespaces/{read(f'{ACCOUNT}/namespace')}/jobs"
        self.context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")

    def __call__(self) -> str:
        token = read(f"{ACCOUNT}/token")
        if not self.job:
            spec = {"handler": os.environ["CHECK_HANDLER"], "args": json.loads(os.environ["CHECK_ARGS"]),
                    "ttlSecondsAfterFinished": 600}  # fmt: skip
            wanted = {"apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "spec": spec,
                      "metadata": {"generateName": "helm-test-"}}  # fmt: skip
            made = call("POST", self.url, wanted, token=token, context=self.context)
            self.job = made["metadata"]["name"]
        return ended(self.job, call("GET", f"{self.url}/{self.job}", token=token, context=self.context))


def undelegated(error: NotYetError) -> bool:
    """Whether the api may not ask who a caller is, in a release that has not the right to let it."""
    refused = "own account may not create tokenreviews" in str(error)
    return refused and os.environ.get("CHECK_DELEGATED") == "false"


def ended(name: str, job: dict) -> str:
    """A sentence when it succeeded; NotYetError while it goes on, SystemExit when it failed."""
    status = job.get("status") or {}
    phase = status.get("phase", "Pending")
    if phase == "Succeeded":
        return f"job {name} succeeded: {json.dumps(status.get('result'))}"
    if phase in ("Failed", "Cancelled"):
        sys.exit(f"job {name} is {phase}: {json.dumps(status)}")
    raise NotYetError(f"job {name} is {phase}")


def main() -> None:
    check = {"health": lambda: health, "http": Http, "resource": Resource}[sys.argv[1]]()
    limit = time.monotonic() + float(os.environ.get("CHECK_SECONDS", "120"))
    while True:
        try:
            print(check(), flush=True)
            return
        except NotYetError as error:
            if undelegated(error):
                print("not tested: the api may not ask who a caller is; `helm status` says how to let it")
                return
            if time.monotonic() > limit:
                sys.exit(f"gave up: {error}")
            print(f"not yet: {error}", flush=True)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
