"""The store of a cluster put together, from the settings."""

import logging
from collections.abc import Mapping
from pathlib import Path

from longshore.app_metrics.declared import DECLARED
from longshore.app_metrics.totals import Totals
from longshore.handlers import Handler
from longshore.settings import Settings
from longshore.store.kubernetes import sweep
from longshore.store.kubernetes.access import Reviews
from longshore.store.kubernetes.client import KubeClient, longshore
from longshore.store.kubernetes.history import History
from longshore.store.kubernetes.kept import Kept
from longshore.store.kubernetes.leader import Leader
from longshore.store.kubernetes.logs import Logs
from longshore.store.kubernetes.measures import Measures
from longshore.store.kubernetes.store import Cluster, KubernetesStore
from longshore.store.kubernetes.watch import JobWatch
from longshore.store.results import open_results
from longshore.tls import ClientTls

ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def namespace_of(settings: Settings) -> str:
    """The service's own: the setting, else its pod's, else ``default``."""
    if settings.namespace:
        return settings.namespace
    try:
        return ACCOUNT_NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"  # no pod


def connect(settings: Settings, handlers: Mapping[str, Handler]) -> tuple[KubernetesStore, Reviews]:
    """The store, its watch begun, and who answers for callers; raises SettingsError when no cluster is named."""
    measures, history, own = Measures(), History(), namespace_of(settings)
    client = KubeClient(settings.kubeconfig, measures)
    watch = JobWatch(
        client,
        longshore("jobs", "" if settings.all_namespaces else own),
        history,
        measures.watch_events.inc,
        measures.contained.inc,
    )
    watch.start()
    results = open_results(settings.results_dir)
    if results is not None:
        sweep.start(client, results, "" if settings.all_namespaces else own)
    app_metrics = Totals(settings.metric_series, _metric_full)
    app_metrics.declare(DECLARED.by_name.values())
    tls = ClientTls(settings.tls_dir) if settings.tls_dir is not None else None
    kept = Kept(results, settings.max_result_bytes)
    cluster = Cluster(
        client=client, watch=watch, history=history, measures=measures, app_metrics=app_metrics, handlers=handlers, own_namespace=own,
        logs=Logs(client, own, settings.worker_tokens_file, kept, tls), kept=kept, all_namespaces=settings.all_namespaces,
        leader=Leader(
            client, settings.operator_namespace or own, settings.operator_lease, settings.operator_token_file, tls
        ),
    )  # fmt: skip
    return KubernetesStore(cluster), Reviews(client, settings.token_audiences)


def _metric_full(name: str) -> None:
    logging.getLogger("longshore.api").warning(
        "metric %s has more sets of label values than metric_series allows; further ones are dropped and counted",
        name,
    )
