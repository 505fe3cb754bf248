"""``@handler`` as an application's author and his type checker see it."""

import subprocess
import sys
from pathlib import Path

import pytest

from longshore.handlers import REGISTRY, handler

ROOT = Path(__file__).parents[2]
USE = """
from longshore import handler


@handler
def price_of(item: int, count: int, discount: float) -> float:
    return item * count * (1 - discount)


@handler(timeout_seconds=5, queue="prices")
async def tax_of(price: float) -> float:
    return price / 5


right: float = price_of(1, 2, discount=0.5)
x: str = price_of(1, 2, 3)
price_of("one", 2, 3)


async def later() -> None:
    y: str = await tax_of(1.0)
    await tax_of()
"""


def test_a_handler_keeps_the_type_of_its_function(tmp_path: Path) -> None:
    """A decorated function took anything and returned anything."""
    file = tmp_path / "use.py"
    file.write_text(USE)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", tmp_path / "cache", file],
        cwd=ROOT / "app", capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {(int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]")) for line in done.stdout.splitlines()[:-1]}

    assert {(16, "assignment"), (17, "arg-type"), (21, "assignment"), (22, "call-arg")} == found, done.stdout


@pytest.mark.parametrize(
    ("defaults", "field"),
    [({"queue": "Not A Name"}, "queue"), ({"priority": 10**12}, "priority"), ({"memory": "lots"}, "resources.memory"),
     ({"ttl_seconds": -1}, "ttlSecondsAfterFinished")],
)  # fmt: skip
def test_a_default_that_no_job_could_have_is_refused_at_import(defaults: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=f"handler 'of_this_test': {field}: "):
        handler(name="of_this_test", **defaults)(lambda: None)  # type: ignore[call-overload]  # wrong on purpose
    assert "of_this_test" not in REGISTRY
