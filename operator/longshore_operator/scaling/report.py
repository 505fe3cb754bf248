"""What ``longshore explain pool`` says. Read off what is known, never written down."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from longshore_operator.desk import Worker
from longshore_operator.gauges import state as state_of
from longshore_operator.job import Json
from longshore_operator.scaling.state import State


def report(state: State, workers: Mapping[str, Worker]) -> Json:
    """One pool, with the stages of workers that are starting."""
    pool, decision = state.pool, state.decision
    whole: Json = {
        "name": pool.name, "namespace": pool.namespace, "deployment": pool.deployment, "replicas": pool.replicas,
        "queues": sorted(pool.queues), "slotsPerWorker": state.slots_of_one,
        "workers": _states(workers.values(), state.victims.draining.keys() | state.victims.taken.keys()),
        "demand": {
            "running": state.running, "waiting": round(state.demand.waiting_jobs, 1),
            "dueSoon": round(state.demand.due_jobs, 1), "wantedSlots": round(state.demand.slots(), 2),
        },
        "starting": [
            {"name": one.pod.name, "stage": one.pod.stage or "Pending"}
            | ({"trouble": one.pod.trouble} if one.pod.trouble else {})
            for one in workers.values() if _starting(one)
        ],
    }  # fmt: skip
    if pool.knobs is not None:
        whole["settings"] = {_camel(name): value for name, value in asdict(pool.knobs).items()}
    if pool.bad:
        whole["warning"] = f"{pool.bad}; the last good values hold" if pool.knobs is not None else pool.bad
    if state.refused is not None:
        reason, message = state.refused
        return whole | {"reason": reason, "message": message}
    if decision is None:
        return whole | {"reason": "Starting", "message": "the operator has only just begun"}
    return whole | {"desired": decision.workers, "reason": decision.why.value, "message": decision.message}


def hindrance(state: State, workers: Mapping[str, Worker]) -> str:
    """Why a job may wait long for a worker of the pool, in a sentence; empty when nothing is known to be in the way."""
    if state.refused is not None and state.refused[0] != "Unmanaged":
        return f"it is not scaled: {state.refused[1]}"
    if state.capacity.refused or (state.decision is not None and state.decision.why.limited):
        return state.decision.message if state.decision is not None else state.capacity.words
    starting = [one.pod for one in workers.values() if _starting(one)]
    if troubles := sorted(f"{pod.name}: {pod.trouble}" for pod in starting if pod.trouble):
        return troubles[0]
    stages = sorted({pod.stage for pod in starting if pod.stage})
    return f"{len(starting)} pod{'' if len(starting) == 1 else 's'} starting ({', '.join(stages)})" if stages else ""


def _states(workers: Iterable[Worker], victims: Iterable[str]) -> dict[str, int]:
    leaving = set(victims)
    found = Counter(
        "starting" if _starting(one) else "leaving" if one.pod.uid in leaving else
        "busy" if state_of(one) == "ready" and one.held else state_of(one)
        for one in workers
    )  # fmt: skip
    return {
        name: found[name]
        for name in ("busy", "ready", "starting", "leaving", "draining", "unready", "unreachable")
        if found[name]
    }


def _starting(worker: Worker) -> bool:
    return not worker.pod.ready and not worker.boot and not worker.pod.ending


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
