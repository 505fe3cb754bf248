"""The command line: one file per command. It talks to a service through ``longshore.client`` alone."""


def main() -> None:
    """Entry point."""
    import sys

    from longshore import settings
    from longshore.engine.serve import run

    assert sys.argv[1] == "serve"
    run(settings.load().settings)
