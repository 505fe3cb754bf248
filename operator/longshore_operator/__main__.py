"""``longshore-operator``: run the operator until SIGTERM or Ctrl-C, or print the token of a pool namespace."""

import argparse
import os
import sys
from typing import NoReturn

from longshore.version import __version__
from longshore_operator import pool_namespaces, pool_tokens, settings
from longshore_operator.errors import ConfigError, KubeError, OperatorError

MAX_LEVELS = 40_000  # a few for each level of JSON


def run(found: settings.OperatorSettings) -> NoReturn:
    """Until it has ended; raises ConfigError when it cannot start."""
    import uvloop

    from longshore_operator.app import Operator

    # The API server takes JSON of 10,000 levels. kopf reads it with Python's parser, which gives up at this limit, and
    # with it the watch of everybody's jobs; a level takes a few hundred bytes of the main thread's stack.
    sys.setrecursionlimit(MAX_LEVELS)

    async def work() -> NoReturn:
        code = await Operator(found).run()
        # kopf and its tasks need seconds to end, and there is nothing left that they would have to do.
        os._exit(code)

    try:
        uvloop.run(work())
    except KubeError as error:
        raise ConfigError(error.message) from error


def token_of(found: settings.OperatorSettings, namespace: str) -> str:
    """The derived token of a namespace, of the newest root secret; raises ConfigError."""
    if found.root_secret_file is None:
        raise ConfigError("there is no root secret to derive a token from: set root_secret_file")
    if not pool_namespaces.is_name(namespace):
        raise ConfigError(f"{namespace[:80]!r} is no name of a namespace")
    newest = pool_tokens.roots(found.root_secret_file)[0]
    return pool_tokens.derive(newest, namespace, found.token_generation)


def main() -> None:
    """Read the arguments and the environment, and run."""
    parser = argparse.ArgumentParser(
        prog="longshore-operator", description="Hands Job resources to warm workers.",
        epilog="Every setting is also a variable LONGSHORE_OPERATOR_NAME of the environment.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"longshore-operator {__version__}")
    parser.add_argument("--kubeconfig", help="where the API server is")
    parser.add_argument("--namespaces", help="namespaces whose jobs are run, with commas; all without")
    parser.add_argument("--workers", help="addresses of workers that are no pods, with commas")
    parser.add_argument("--worker-token-file", help="file with the token of the workers' attempts API")
    parser.add_argument("--port", help="port for probes and metrics")
    parser.add_argument("--no-leader-election", dest="leader_election", action="store_const", const=False)
    commands = parser.add_subparsers(dest="what", metavar="token")
    token = commands.add_parser("token", help="print the token of a pool namespace")
    token.add_argument("--namespace", required=True, dest="of", help="the pool namespace")
    token.add_argument("--generation", dest="token_generation", help="generation; the operator's own without")
    token.add_argument("--root-secret-file", help="file with the root secret; the operator's own without")
    arguments = vars(parser.parse_args())
    what, of = arguments.pop("what"), arguments.pop("of", "")
    try:
        found = settings.load(arguments)
        if what == "token":
            sys.stdout.write(token_of(found, of) + "\n")
            return
        run(found)
    except OperatorError as error:
        sys.stderr.write(f"longshore-operator: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
