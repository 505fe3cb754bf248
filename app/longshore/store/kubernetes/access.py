"""Who a caller is and what he may, in the cluster's own words: TokenReview and SubjectAccessReview.

Answers are remembered for a while: a yes up to a minute, so that much longer a withdrawn right lives on; a no shortly.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from longshore.store.kubernetes.client import KubeClient, Target
from longshore.store.port import Subject

YES_SECONDS, NO_SECONDS = 60.0, 10.0
REMEMBERED = 4096  # answers; the oldest goes
GROUP = "longshore.dev"
TOKENS = Target("tokenreviews.authentication.k8s.io", "/apis/authentication.k8s.io/v1/tokenreviews")
RIGHTS = Target("subjectaccessreviews.authorization.k8s.io", "/apis/authorization.k8s.io/v1/subjectaccessreviews")
T = TypeVar("T")


class Memory(Generic[T]):
    """Answers by question, each until its time is over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, size: int = REMEMBERED) -> None:
        self._clock, self._size = clock, size
        self._answers: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, question: Hashable, answer: Callable[[], T]) -> T:
        """The remembered answer, or a new one. Errors are not remembered."""
        with self._lock:
            until, known = self._answers.get(question, (0.0, None))
            if known is not None and self._clock() < until:
                return known
        found = answer()
        with self._lock:
            self._answers[question] = (self._clock() + (YES_SECONDS if found else NO_SECONDS), found)
            self._answers.move_to_end(question)
            while len(self._answers) > self._size:
                self._answers.popitem(last=False)
        return found


class Reviews:
    """Asks the API server; raises StoreUnavailable when it is away or our own account may not ask."""

    def __init__(self, client: KubeClient, audiences: Sequence[str] = ()) -> None:
        self._client, self._audiences = client, list(audiences)
        self._subjects: Memory[tuple[Subject, ...]] = Memory()
        self._rights: Memory[bool] = Memory()

    def who(self, token: str) -> Subject | None:
        """Whose token it is."""
        digest = hashlib.sha256(token.encode()).digest()  # no secret stays in memory longer than its request
        found = self._subjects.ask(digest, lambda: self._review(token))
        return found[0] if found else None

    def may(self, subject: Subject, verb: str, resource: str, namespace: str) -> bool:
        """Whether he may do this to resources of ours."""
        return self._rights.ask((subject, verb, resource, namespace),
                                lambda: self._right(subject, verb, resource, namespace))  # fmt: skip

    def _review(self, token: str) -> tuple[Subject, ...]:
        spec = {"token": token, **({"audiences": self._audiences} if self._audiences else {})}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        status = self._client.post(TOKENS, review, again=True).get("status") or {}
        # An API server that knows nothing of audiences would leave them out: then the token may be for somebody else.
        meant = not self._audiences or set(self._audiences) & set(status.get("audiences") or ())
        if not status.get("authenticated") or not meant:
            return ()
        user = status["user"]
        extra = tuple((name, tuple(values)) for name, values in (user.get("extra") or {}).items())
        return (Subject(user.get("username", ""), user.get("uid", ""), tuple(user.get("groups") or ()), extra),)

    def _right(self, subject: Subject, verb: str, resource: str, namespace: str) -> bool:
        attributes = {"group": GROUP, "resource": resource, "verb": verb, "namespace": namespace}
        spec = {"user": subject.name, "uid": subject.uid, "groups": subject.groups, "extra": dict(subject.extra),
                "resourceAttributes": attributes}  # fmt: skip
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status = self._client.post(RIGHTS, review, again=True).get("status") or {}
        return bool(status.get("allowed"))
