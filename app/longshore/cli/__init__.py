"""The command line: one file per command. It talks to a service through ``longshore.client`` alone."""

from longshore.cli.root import main

__all__ = ["main"]
