"""``longshore-operator``: run the operator until SIGTERM or Ctrl-C."""

import argparse
import sys

from longshore_operator import settings
from longshore_operator.errors import OperatorError


def main() -> None:
    """Read the arguments and the environment, and run."""
    parser = argparse.ArgumentParser(
        prog="longshore-operator", description="Hands Job resources to warm workers.",
        epilog="Every setting is also a variable LONGSHORE_OPERATOR_NAME of the environment.",
    )  # fmt: skip
    parser.add_argument("--kubeconfig", help="where the API server is")
    parser.add_argument("--namespaces", help="namespaces whose jobs are run, with commas; all without")
    parser.add_argument("--workers", help="addresses of workers that are no pods, with commas")
    parser.add_argument("--worker-token-file", help="file with the token of the workers' attempts API")
    parser.add_argument("--port", help="port for probes and metrics")
    parser.add_argument("--no-leader-election", dest="leader_election", action="store_const", const=False)
    arguments = vars(parser.parse_args())
    try:
        from longshore_operator.app import main as run

        sys.exit(run(settings.load(arguments)))
    except OperatorError as error:
        sys.stderr.write(f"longshore-operator: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
