"""Everything that goes wrong in the operator and is told to somebody."""


class OperatorError(Exception):
    """A sentence for whoever runs the operator."""


class ConfigError(OperatorError):
    """A setting or a kubeconfig that cannot be used; says which."""


class KubeError(OperatorError):
    """The API server refused: ``status`` is HTTP's, ``reason`` Kubernetes' word, ``fields`` what it names."""

    def __init__(self, status: int, reason: str, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message, self.fields = status, reason, message, fields


class KubeUnavailable(OperatorError):
    """The API server cannot be asked now: no answer, 429 or 5xx. Worth another try, after ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WorkerUnreachable(OperatorError):
    """A worker did not answer; ``refused`` when nobody listens there, which says that its process is gone."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused
