"""The smallest handler: gives back what it was given."""

from longshore import handler


@handler
def echo(**arguments: object) -> dict[str, object]:
    """Return the arguments."""
    return arguments
