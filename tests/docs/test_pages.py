"""The documentation is so: its lines run against a real service, its links lead somewhere, its names exist."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from longshore.settings import APPLICATION_PREFIX, OTHER_VARIABLES, PREFIX, Settings
from longshore_operator import settings as operator
from service import Service

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sh( fails)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
# A refusal of the service ends the block; what is meant to fail is in a block marked so.
STRICT = 'set -euo pipefail; curl() { command curl --fail-with-body --max-time 30 "$@"; }\n'
# Shown as what goes wrong: a misspelled one, and one that Kubernetes makes up.
WRONG = {"LONGSHORE_SLOT", "LONGSHORE_SERVICE_HOST"}
# What commands see of their job, told in handlers.md.
OF_COMMANDS = {"LONGSHORE_JOB_ID", "LONGSHORE_ATTEMPT", "LONGSHORE_ITEM_INDEX", "LONGSHORE_IDEMPOTENCY_KEY"}


def runnable(page: Path) -> list[tuple[str, bool]]:
    """Lines of the page's shell blocks, and whether they are meant to fail."""
    return [(lines, bool(fails)) for fails, lines in BLOCK.findall(page.read_text())]


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=lambda page: page.name)
def test_every_line_of_the_page_does_what_it_says(
    page: Path, start_service: Callable[..., Service], program: Callable[[str], None]
) -> None:
    program("curl")
    service = start_service()
    tools = Path(sys.executable).parent
    environment = os.environ | {"LONGSHORE_URL": service.url, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}

    for lines, fails in runnable(page):
        script = STRICT + lines.replace("http://127.0.0.1:8080", service.url)
        done = subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=90, check=False
        )
        assert fails == (done.returncode != 0), f"{lines}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_other_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

    assert [] == [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*[A-Z]\b", page.read_text()))
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {operator.PREFIX + name.upper() for name in operator.OperatorSettings.model_fields}
    known |= OTHER_VARIABLES | OF_COMMANDS | WRONG
    named = {name for name in named if not name.startswith(APPLICATION_PREFIX)}  # the examples' own

    assert set() == named - known


def test_the_page_of_the_operator_names_every_setting() -> None:
    page = (ROOT / "docs/operator.md").read_text()

    assert [] == [name for name in operator.OperatorSettings.model_fields if f"`{name}`" not in page]
