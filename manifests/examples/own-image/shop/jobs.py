"""Jobs of a shop."""

from tabulate import tabulate

from longshore import handler


@handler(timeout_seconds=30)
def receipt(items: dict[str, float]) -> dict[str, str]:
    """Write a receipt: a line for each thing bought, and the sum."""
    lines = [*items.items(), ("Sum", sum(items.values()))]
    return {"text": tabulate(lines, floatfmt=".2f", tablefmt="plain")}
