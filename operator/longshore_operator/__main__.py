"""``longshore-operator``: run the operator until SIGTERM or Ctrl-C."""

import argparse
import os
import sys
from typing import NoReturn

from longshore.version import __version__
from longshore_operator import settings
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
    arguments = vars(parser.parse_args())
    try:
        run(settings.load(arguments))
    except OperatorError as error:
        sys.stderr.write(f"longshore-operator: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
