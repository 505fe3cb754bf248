"""The operator, put together: watches, desk, election, and the work of the leader."""

import asyncio
import gc
import os
import signal
import time
from functools import partial

from longshore.job.status import Outcome
from longshore_operator import gauges, overview, recover, tls
from longshore_operator.attempts_client import AttemptsClient
from longshore_operator.collect import Collector
from longshore_operator.contain import one_object
from longshore_operator.desk import Desk
from longshore_operator.dispatch import Dispatcher
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.explain import Explainer
from longshore_operator.health import Callbacks, HealthServer, Silence
from longshore_operator.job import Attempt, Job, Json
from longshore_operator.jobs import SELECTOR, Jobs
from longshore_operator.journal import Journal
from longshore_operator.kopf_app import DEPLOYMENTS, JOBS, PODS, QUEUES, SCHEDULES, Watches
from longshore_operator.kube import config
from longshore_operator.kube.client import KubeClient, path_of
from longshore_operator.kube.lease import Elector, identity_of
from longshore_operator.metrics import OperatorMetrics, Snapshot
from longshore_operator.overdue import Overdue
from longshore_operator.ownership import Ownership
from longshore_operator.pool_namespaces import PoolNamespaces
from longshore_operator.pool_tokens import PoolTokens
from longshore_operator.queues import Queues
from longshore_operator.record import Recorder
from longshore_operator.scaling.api import APPS
from longshore_operator.scaling.pools import Pools
from longshore_operator.schedules import Schedules
from longshore_operator.settings import OperatorSettings
from longshore_operator.tasks import spawn
from longshore_operator.webhooks import Webhooks
from longshore_operator.workers import Workers
from longshore_operator.write import Writer

DELETES_PER_SECOND = 200.0  # more than an API server takes jobs
ADOPT_SECONDS = 5.0  # a new leader waits so long for workers to say what they hold
NET_SECONDS = 120.0  # a whole list is held against the desk so often
SILENT_SECONDS = 60.0  # a watch that is proven to have missed something has so long to say anything at all
FLUSH_SECONDS = 10.0  # at the end: so long for writes that are on their way


class Operator:
    """One process. Exactly one of several leads; the others keep their desk warm."""

    def __init__(self, settings: OperatorSettings) -> None:
        self.settings = settings
        self.journal = Journal(settings.log_level)
        self.config = config.load(settings.kubeconfig)
        self.metrics = OperatorMetrics(self._snapshot)
        self._marker_client = KubeClient(self.config, self.metrics.api_request)
        self.ownership = Ownership(self._marker_client, settings.lists, settings.owner, self.journal, self._back)
        self.client = KubeClient(
            self.config, self.metrics.api_request, settings.exclude_namespaces, self.ownership.ours
        )
        self._lease_client = KubeClient(self.config)
        self.desk = Desk()
        # Where its Lease is; by hand a kubeconfig may name another namespace, or none.
        own = settings.lease_namespace or self.config.namespace
        self.trust = PoolNamespaces(settings.pool_namespaces or {own: frozenset()})
        listening, calling = tls.contexts(settings.tls_dir)
        self.workers_client = AttemptsClient(
            PoolTokens(own, settings.worker_token_file, settings.root_secret_file, settings.token_generation), calling
        )
        self.writer = Writer(self.client, overtaken=self._overtaken, log=self.journal)
        self.recorder = Recorder(self.desk, self.writer, now=time.time, ended=self._ended, counted=self._counted)
        self.schedules = Schedules(self.client)
        self.pools = Pools(self.desk, self.client, self.workers_client, self.metrics.registry, trust=self.trust, on=settings.scaling, coming=self.schedules.coming, log=self.journal)  # fmt: skip
        self.workers = Workers(self.desk, self.workers_client, self.recorder, self.trust, now=time.time, stir=self._stir, ran=self.pools.ran, log=self.journal)  # fmt: skip
        self.dispatcher = Dispatcher(self.desk, self.workers_client, now=time.time, started=self._started, returned=self._returned,
                                     long=self.recorder.running_for_long, refused=lambda job, why: self.jobs.refuse(job, why), log=self.journal)  # fmt: skip
        self.overdue = Overdue(self.desk, self.recorder, grace_seconds=settings.unknown_handler_seconds, now=time.time)
        self.jobs = Jobs(self.desk, self.client, self.recorder, self.workers, self.overdue, now=time.time,
                         stir=self._stir, log=self.journal)  # fmt: skip
        self.queues = Queues(self.desk, self.client, now=time.time, stir=self._stir, log=self.journal)
        self.webhooks = Webhooks(self.client, secrets_dir=settings.secrets_dir,
                                 allow_local=settings.webhook_allow_local, ours=self._has, log=self.journal)  # fmt: skip
        self.collector = Collector(self.client, namespaces=settings.lists, retention_seconds=settings.retention_seconds,
                                   ours=self.ownership.ours,
                                   rate_per_second=DELETES_PER_SECOND, finished=self.webhooks.ended)  # fmt: skip
        edges = {
            JOBS: self._job_edge, QUEUES: self._queue_edge, SCHEDULES: self.schedules.seen, PODS: self._pod_edge,
        } | ({DEPLOYMENTS: self.pools.edge} if settings.scaling else {})  # fmt: skip
        edges = {kind: self.ownership.of_ours(edge) for kind, edge in edges.items()}
        self.ownership.parts = (self.jobs, self.schedules, self.queues, self.pools, self.workers)
        self.watches = Watches(self.config, settings.namespaces, edges, SELECTOR, settings.exclude_namespaces)
        asked = Callbacks(metrics=self.metrics.render, silences=self._silences, unsynced=self._unsynced,
                          explain=self._explain, pool=self.pools.report, retry_webhook=self.webhooks.retry, workers=self._workers, queues=self._queues,
                          elsewhere=lambda: None if self.dispatcher.on else self.elector.holder() if self.elector else "")  # fmt: skip
        self.health = HealthServer(settings.host, settings.port, asked, token_file=settings.token_file,
                                   namespace=own, tls=listening)  # fmt: skip
        self._explainer = Explainer(self.desk, now=time.time, hindrances=self.pools.hindrances)
        self.elector: Elector | None = None
        self.synced = False
        self._leading: list[asyncio.Task[None]] = []
        self._watching = False
        self._stopping = asyncio.Event()
        self._listed = asyncio.Event()
        """A watch began anew with a list: what was deleted in between it did not say."""

    # -- life ------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Until SIGTERM or Ctrl-C; returns the exit code."""
        self.journal.take_over()
        for number, debug in ((signal.SIGUSR1, True), (signal.SIGUSR2, False)):
            asyncio.get_running_loop().add_signal_handler(number, partial(self.journal.switch, debug=debug))
        for client in (self.client, self._lease_client, self._marker_client, self.workers_client):
            await client.open()
        await self.health.start()
        self.journal("listening", host=self.settings.host, port=self.health.port)
        await self._wait_for_kinds()
        await self.ownership.start()
        spawn(self.ownership.run())
        watching = asyncio.Event()
        for address in self.settings.workers:
            self.workers.pod_seen(recover.by_hand(address))
        spawn(self._watch(watching))
        for work in (self.dispatcher.run(), self.workers.watch_silence(), self.queues.write()):
            spawn(work)
        await watching.wait()
        self._watching = True
        for number in (signal.SIGTERM, signal.SIGINT):  # kopf has put its own there
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        spawn(self._lead())
        await self._stopping.wait()
        await self._finish()
        return 0

    async def _wait_for_kinds(self) -> None:
        """Until the API server knows our resources: installed later is fine, and is waited for."""
        while True:
            try:
                paths = [path_of(kind, self.settings.lists[0]) for kind in (JOBS, QUEUES, SCHEDULES)]
                for path in paths + [path_of(DEPLOYMENTS, self.settings.lists[0], api=APPS)] * self.settings.scaling:
                    await self.client.request("GET", path, params={"limit": "1"})
                return
            except KubeError as error:
                hint = (
                    "install manifests/crds first" if error.status == 404 else "see the RBAC rules in docs/operator.md"
                )
                self.journal("resources_missing", level="error", detail=error.message, hint=hint)
            except KubeUnavailable as error:
                self.journal("api_server_unreachable", level="error", detail=str(error))
            await asyncio.sleep(2.0)

    async def _watch(self, ready: asyncio.Event) -> None:
        await self.watches.run(ready)
        if not self._stopping.is_set():
            raise RuntimeError("a watch has ended; starting anew is the repair")

    async def _lead(self) -> None:
        """Wait for the lead, take over, work until it is lost."""
        if self.settings.leader_election:
            settings = self.settings
            namespace = settings.lease_namespace or self.config.namespace
            self.elector = Elector(
                self._lease_client, namespace, settings.lease_name,
                identity_of(f"{settings.identity}-{os.getpid()}", f"{settings.address or settings.host}:{self.health.port}"),
                lease_seconds=settings.lease_seconds, renew_seconds=settings.lease_seconds * 2 / 3,
                retry_seconds=max(0.5, settings.lease_seconds / 7.5),
            )  # fmt: skip
            await self.elector.acquire()
            spawn(self.elector.hold(self._lost))
        self.journal("leading", identity=self.settings.identity)
        await self._take_over()
        spawn(self.overdue.run())
        self._leading = [spawn(self.collector.run()), spawn(self.schedules.run()), spawn(self.pools.run())]
        while True:
            try:
                await asyncio.wait_for(self._listed.wait(), NET_SECONDS)
                await asyncio.sleep(1.0)  # the rest of that list
            except TimeoutError:
                pass  # its time has come all the same
            self._listed.clear()
            await self._sync()

    async def _take_over(self) -> None:
        """Know all jobs, ask every worker what it holds, adopt that, then dispatch."""
        begun = time.monotonic()
        await self._sync()  # first: what a worker tells of a job that we do not know yet would be lost
        self.workers.start()
        await self.workers.all_heard(ADOPT_SECONDS)
        self.jobs.leading = self.queues.leading = True
        for job, attempt in list(self.desk.unplaced()):
            with one_object("job", job.namespace, job.name):
                self.recorder.attempt_lost(job, attempt, "no worker knows it")
        for job in list(self.desk.jobs.values()):
            self.jobs.take_up(job)
        for line in self.desk.lines.values():
            line.restart_rate(time.time())
        self.synced = self.dispatcher.on = True
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        self.dispatcher.stir()
        seconds = round(time.monotonic() - begun, 3)
        self.journal("took_over", jobs=len(self.desk.jobs), workers=len(self.desk.workers), seconds=seconds)

    async def _sync(self) -> None:
        """Hold the desk against whole lists: the net under the watches, which cannot show what they missed."""
        while True:
            try:
                for namespace in self.settings.lists:
                    await self.queues.sync(namespace)
                    await self.workers.sync(self.client, namespace)
                    await self.pools.sync(namespace)
                if await self.jobs.sync(self.settings.lists) and self.synced:
                    self.watches.missed(JOBS)
                self.desk.tidy()
                return
            except (KubeError, KubeUnavailable) as error:
                self.journal("list_failed", level="error", detail=str(error))
                await asyncio.sleep(1.0)

    def _lost(self) -> None:
        self.journal("lead_lost", level="error")
        os._exit(75)  # EX_TEMPFAIL: somebody else leads now; start anew as a standby

    async def _finish(self) -> None:
        """No new attempts; what is decided is written; somebody else may lead. Running attempts run on."""
        self.journal("stopping")
        self.dispatcher.on = False
        for task in self._leading:
            task.cancel()
        try:
            await asyncio.wait_for(self.writer.idle(), FLUSH_SECONDS)
        except TimeoutError:
            self.journal("writes_unfinished", level="warning", jobs=len(self.writer))
        if self.elector is not None:
            await self.elector.release()

    # -- edges -----------------------------------------------------------------------------------------------

    def _back(self, namespace: str) -> None:
        """Nobody else has the namespace any more: lists show it, which the watches need not do again."""
        self._listed.set()
        spawn(self.schedules.come_back(namespace))

    def _job_edge(self, kind: str | None, resource: Json) -> None:
        if kind is None and self.synced:
            self._listed.set()
        if kind == "DELETED":
            self.jobs.gone(resource)
            self.schedules.job_gone(resource)
        else:
            self.jobs.seen(resource)
            self.schedules.job_seen(resource)

    def _queue_edge(self, kind: str | None, resource: Json) -> None:
        if kind == "DELETED":
            self.queues.gone(resource)
        else:
            self.queues.seen(resource)

    def _pod_edge(self, kind: str | None, resource: Json) -> None:
        if kind == "DELETED":
            self.workers.pod_gone(resource["metadata"]["uid"])
        else:
            self.workers.resource_seen(resource)

    # -- wires -----------------------------------------------------------------------------------------------

    def _has(self, namespace: str) -> bool:
        return namespace not in self.settings.exclude_namespaces and self.ownership.ours(namespace)

    def _stir(self) -> None:
        self.dispatcher.stir()
        self.pools.stir()

    def _started(self, job: Job, attempt: Attempt) -> None:
        if attempt.number == 1:
            self.metrics.dispatched(time.time() - job.ready_at)
        self.recorder.began(job)
        self.jobs.started(job, attempt)

    def _returned(self, job: Job) -> None:
        self.jobs.returned(job)

    def _counted(self, what: str, detail: str) -> None:
        if what == "ended":
            self.metrics.attempt_ended(Outcome(detail))
        elif what == "disruption":
            self.metrics.disrupted(detail)
        else:
            self.metrics.retried()

    def _ended(self, job: Job) -> None:
        with one_object("job", job.namespace, job.name):
            self.collector.ended(job.resource())
        self.jobs.ended(job)

    def _overtaken(self, job: Job, resource: Json | None) -> None:
        self.jobs.overtaken(job, resource)

    # -- what others ask -------------------------------------------------------------------------------------

    def _silences(self) -> dict[str, Silence]:
        now = time.monotonic()
        return {kind: Silence(now - at, SILENT_SECONDS) for kind, at in self.watches.missed_at.items()}

    def _unsynced(self) -> list[str]:
        return [] if self._watching else ["jobs"]

    def _snapshot(self) -> Snapshot:
        clock = time.monotonic()
        return Snapshot(
            **gauges.lines_and_workers(self.desk, time.time(), clock), leading=self.dispatcher.on,
            loop_late_seconds=self.health.loop_late_seconds,
            watch_age_seconds={kind: clock - at for kind, at in self.watches.heard_at.items()},
            desk=gauges.sizes(self.desk) | {"schedules": len(self.schedules), "writes": len(self.writer)},
        )  # fmt: skip

    async def _explain(self, namespace: str, name: str) -> Json | None:
        return self._explainer.explain(namespace, name)

    async def _workers(self) -> Json:
        return {"items": overview.workers(self.desk, now=time.time(), clock=time.monotonic())}

    async def _queues(self) -> Json:
        return {"items": overview.queues(self.desk, now=time.time())}
