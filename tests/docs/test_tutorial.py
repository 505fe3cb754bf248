"""The walk of the tutorial, as it is written, with one venv instead of the project's own."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service import Service

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_the_walk_goes_as_it_is_written(
    tmp_path: Path, start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    text = PAGE.read_text()
    first = next(line for line in text.splitlines() if line.startswith("longshore init"))
    made = subprocess.run(
        [sys.executable, "-m", *first.split()], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    project = tmp_path / "my-project"
    named = {
        path.strip("`") for path in re.findall(r"`[^`]+`", "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)))
    }

    assert "cd my-project" in made.stdout
    assert [] == [path for path in named if not (project / path).exists()]
    service = start_service(
        path=str(project), config=str(project / "longshore.toml"), apps="my_project", slots=1, dev=True
    )

    def greeting() -> str:
        answer = service.request(
            "POST", "/v1/jobs", {"handler": "greet", "args": {"name": "Ada"}}, headers={"Prefer": "wait=20"}
        )
        return str(answer.json()["status"].get("result", {}).get("greeting"))

    assert "Hello, Ada!" == greeting()
    module = project / "my_project" / "__init__.py"
    code = module.read_text()
    module.write_text(code.replace("Hello,", "Good morning,"))
    eventually(lambda: greeting() == "Good morning, Ada!", what="the new words")
    module.write_text(code.replace('return {"greeting"', 'return {{"greeting"'))
    eventually(lambda: '"action":"reload_failed"' in service.log.read_text(), what="the traceback")
    failed = [json.loads(line) for line in service.log.read_text().splitlines() if "reload_failed" in line]
    assert "SyntaxError" in failed[0]["detail"]
    assert "Good morning, Ada!" == greeting()
