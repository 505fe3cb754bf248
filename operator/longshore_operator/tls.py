"""The operator's own TLS, from its settings: of its port, and of its calls to workers."""

import ssl
from pathlib import Path

from longshore.errors import StartError
from longshore.tls import ClientTls, server_context
from longshore_operator.errors import ConfigError


def contexts(folder: Path | None) -> tuple[ssl.SSLContext | None, ClientTls | None]:
    """For the port and for the calls, nothing without a folder; raises ConfigError for one that cannot be used."""
    if folder is None:
        return None, None
    try:
        return server_context(folder), ClientTls(folder)
    except StartError as error:
        raise ConfigError(f"LONGSHORE_OPERATOR_TLS_DIR: {error.message}") from error
