"""Which right each route of the api asks for: for the tests with a made-up cluster, and for those with a real one."""

# Route, method, verb, resource, and whether `?namespace=` says where the right is asked for.
TABLE: list[tuple[str, str, str, str, bool]] = [
    ("/v1/jobs", "POST", "create", "jobs", True),
    ("/v1/jobs:batch", "POST", "create", "jobs", True),
    ("/v1/jobs", "GET", "list", "jobs", True),
    ("/v1/jobs:count", "GET", "list", "jobs", True),
    ("/v1/jobs/<id>", "GET", "get", "jobs", True),
    ("/v1/jobs/<id>", "DELETE", "delete", "jobs", True),
    ("/v1/jobs/<id>:cancel", "POST", "patch", "jobs", True),
    ("/v1/jobs/<id>:redrive", "POST", "patch", "jobs", True),
    ("/v1/jobs/<id>:suspend", "POST", "patch", "jobs", True),
    ("/v1/jobs/<id>:resume", "POST", "patch", "jobs", True),
    ("/v1/jobs/<id>/result", "GET", "get", "jobs", True),
    ("/v1/jobs/<id>/items", "GET", "get", "jobs", True),
    ("/v1/jobs/<id>/explain", "GET", "get", "jobs", True),
    ("/v1/jobs/<id>/logs", "GET", "get", "jobs", True),
    ("/v1/jobs/<id>/events", "GET", "get", "jobs", True),
    ("/v1/events", "GET", "list", "jobs", True),
    ("/v1/queues", "GET", "list", "queues", True),
    ("/v1/queues/<name>", "GET", "get", "queues", True),
    ("/v1/queues/<name>", "PATCH", "patch", "queues", True),
    ("/v1/queues/<name>:pause", "POST", "patch", "queues", True),
    ("/v1/queues/<name>:resume", "POST", "patch", "queues", True),
    ("/v1/pools/<name>", "GET", "get", "jobs", True),
    ("/v1/handlers", "GET", "get", "jobs", False),
    ("/v1/workers", "GET", "get", "jobs", False),
    ("/v1/status", "GET", "get", "jobs", False),
    ("/v1/status/details", "GET", "get", "jobs", False),
    ("/healthz", "GET", "get", "jobs", False),
    ("/v1/admin:drain", "POST", "patch", "jobs", False),
    ("/v1/admin:drain", "DELETE", "patch", "jobs", False),
    ("/v1/admin:undrain", "POST", "patch", "jobs", False),
    ("/refunds", "GET", "get", "jobs", False),
    ("/refunds", "POST", "patch", "jobs", False),
]
KNOWN_ONLY = {"/", "/v1"}  # whoever the cluster knows
NO_TOKEN = {"/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/<file>"}
