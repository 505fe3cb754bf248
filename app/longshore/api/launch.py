"""``longshore api``: this process becomes gunicorn, which needs no parent here: there is no engine to outlive it."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import orjson

from longshore import apps, tls
from longshore.errors import StartError
from longshore.settings import Settings
from longshore.store.results import open_results


def run(settings: Settings) -> NoReturn:
    """Serve until SIGTERM; raises StartError when the cluster is not named or the applications do not import."""
    try:
        from longshore.store.kubernetes.client import configuration
    except ImportError as error:
        raise StartError(f"the Kubernetes client is missing ({error}); install longshore[cluster]") from error
    # What is wrong is said before anything has started.
    configuration(settings.kubeconfig)
    if settings.tls_dir is not None:
        tls.server_context(settings.tls_dir)
        tls.ClientTls(settings.tls_dir)
    apps.load(settings.apps)
    open_results(settings.results_dir)
    boot = {"role": "api", "settings": settings.dump()}
    os.environ["LONGSHORE_API_BOOT"] = orjson.dumps(boot).decode()
    command = [sys.executable, "-m", "gunicorn", "--config", str(Path(__file__).with_name("serving.py"))]
    os.execv(sys.executable, command)  # noqa: S606 - argv, no shell
