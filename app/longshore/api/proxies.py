"""Behind a proxy: who really calls, under which address, and which path prefix the links of answers begin with.

``X-Forwarded-*`` is what any caller can write, so it counts from the addresses of ``trusted_proxies`` alone; from others it is as
if it were not there. A proxy may strip its prefix from the path before it passes a request on, or leave it: both work, because
a prefix that is still there is taken off here.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

from longshore.addresses import inside
from longshore.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def behind(app: "WSGIApplication", settings: Settings) -> "WSGIApplication":
    """The application as it is reached; itself when no proxy and no prefix is configured."""
    if not settings.trusted_proxies and not settings.root_path:
        return app
    return _Behind(app, settings.trusted_proxies, settings.root_path)


class _Behind:
    def __init__(self, app: "WSGIApplication", trusted: Sequence[str], root_path: str) -> None:
        self._trusts, self._root_path, self._app = inside(trusted), root_path, app
        self._forwarded = ProxyFix(self._serve, x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        trusted = self._trusts(environ.get("REMOTE_ADDR", ""))
        return (self._forwarded if trusted else self._serve)(environ, start_response)

    def _serve(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        told = environ.get("SCRIPT_NAME", "").rstrip("/")  # by X-Forwarded-Prefix, as ProxyFix leaves it
        # One that begins with two slashes would make each link one to another host.
        prefix = told if _PREFIX.fullmatch(told) else self._root_path
        path = environ.get("PATH_INFO", "")
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            environ["PATH_INFO"] = path[len(prefix) :] or "/"
        environ["SCRIPT_NAME"] = prefix
        return self._app(environ, start_response)
