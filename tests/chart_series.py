"""Which series the alerts, the dashboard and the pages ask for, and of whom."""

import json
import re
from collections.abc import Iterator
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from helm_chart import CHART, ROOT

SELECTED = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{")  # every series of ours is named with labels
ANY = "any"  # component of a series that the dashboard asks all for
MADE_BY_PROMETHEUS = {"up"}
RULES = CHART / "files/monitoring/rules.yaml"
DASHBOARD: dict[str, Any] = json.loads((CHART / "files/monitoring/dashboard.json").read_text())
PAGE = ROOT / "docs/observability.md"


def panels() -> Iterator[str]:
    """Expressions of the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def wanted() -> set[tuple[str, str]]:
    """(component, series) of the alerts, of the dashboard and of the table in docs/observability.md."""
    found = {(who.lower(), name) for name, who in re.findall(r"(\w+)\{(OPERATOR|API)_SERIES", RULES.read_text())}
    found |= {(ANY, name) for text in panels() for name in SELECTED.findall(text)}
    for names, who in re.findall(r"^\| (`[a-z_`, ]+`) \| ([a-z, ]+) \|", PAGE.read_text(), re.MULTILINE):
        found |= {(one, name) for one in who.split(", ") for name in re.findall(r"`(\w+)`", names)}
    return {(who, name) for who, name in found if name not in MADE_BY_PROMETHEUS}


def exported(text: str) -> set[str]:
    """Names in what a /metrics said: of samples and, since a histogram is named without its suffix too, of families.

    A counter that nothing has happened to has no sample yet, but is announced.
    """
    found = set()
    for family in text_string_to_metric_families(text):
        suffixes = {"counter": ("_total",), "histogram": ("", "_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {family.name + suffix for suffix in suffixes} | {sample.name for sample in family.samples}
    return found
