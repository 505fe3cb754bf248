"""What a caller of the client that openapi-python-client generates writes; run by its Python with the address of a service.

Prints one JSON object, which ``test_generators`` looks at.
"""

import json
import sys

from longshore_api_client import Client
from longshore_api_client.api.events import get_job_events
from longshore_api_client.api.jobs import get_job, submit_batch, submit_job
from longshore_api_client.api.service import list_handlers, list_workers
from longshore_api_client.models import (
    Batch,
    BatchRequest,
    Events,
    HandlerList,
    Job,
    Problem,
    StartedEvent,
    Submission,
    SubmissionArgs,
    SucceededEvent,
    WorkerList,
)


def main() -> None:
    """Submit, read the events, and see a refusal."""
    client = Client(base_url=sys.argv[1])
    args = SubmissionArgs.from_dict({"x": 1})
    job = submit_job.sync(client=client, body=Submission(handler="echo", args=args), prefer="wait=10")
    assert isinstance(job, Job), job
    read = get_job.sync(id=job.id, client=client)
    assert isinstance(read, Job), read
    events = get_job_events.sync(id=job.id, client=client)
    assert isinstance(events, Events), events
    started = [event for event in events.items if isinstance(event, StartedEvent)]
    ended = [event for event in events.items if isinstance(event, SucceededEvent)]
    refused = submit_job.sync(client=client, body=Submission(handler="no-such"))
    assert isinstance(refused, Problem), refused
    batch = submit_batch.sync(client=client, body=BatchRequest(jobs=[Submission(handler="echo")]))
    assert isinstance(batch, Batch), batch
    workers, handlers = list_workers.sync(client=client), list_handlers.sync(client=client)
    assert isinstance(workers, WorkerList), workers
    assert isinstance(handlers, HandlerList), handlers
    print(json.dumps({
        "phase": read.status.phase, "result": read.status.result, "types": [event.type_ for event in events.items],
        "attempts": [event.data.attempt for event in started], "ended": len(ended),
        "refused": refused.status, "count": batch.count, "slots": [worker.slots for worker in workers.items],
        "echo": [one.runner for one in handlers.items if one.name == "echo"],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
