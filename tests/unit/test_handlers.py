"""What is refused when a module is imported, before any job of it could lose its work."""

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import longshore
from longshore import apps, handlers
from longshore.errors import AppError

IMPORTS = "from longshore import *\n"
TYPE_CHECKING = "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
Import = Callable[[str], apps.Apps]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Import]:
    """Import an application; what it registers is forgotten afterwards."""
    kept = dict(handlers.REGISTRY)
    handlers.REGISTRY.clear()
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def load(text: str) -> apps.Apps:
        names.append(f"made_app_{len(names)}")
        (tmp_path / f"{names[-1]}.py").write_text(textwrap.dedent(text))
        return apps.load([names[-1]])

    yield load
    handlers.REGISTRY.clear()
    handlers.REGISTRY.update(kept)
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@handler\ndef f():\n    yield 1", "is a generator"),
        ("@handler\nasync def f():\n    yield 1", "is a generator"),
        ("import functools\ndef g():\n    yield 1\n@handler\n@functools.wraps(g)\ndef f(): return g()", "is a generator"),
        ("@handler\ndef f() -> bytes: ...", "returns bytes"),
        ("@handler\nasync def f() -> list[bytes] | None: ...", "returns bytes"),
        ("from collections.abc import Iterator\n@handler\ndef f() -> Iterator[int]: ...", "returns Iterator"),
        ("class Report: ...\n@handler\ndef f() -> Report: ...", "returns Report"),
        ("@handler(retry=Retry(on=('OsError',)))\ndef f(): ...", "did you mean 'OSError'"),
        ("@handler(retry=Retry(except_=('builtins.NoError',)))\ndef f(): ...", "no class of an error here"),
        ("@handler(retry=Retry(on=('no_such_package.Timeout',)))\ndef f(): ...", "no class of an error here"),
        ("import json\n@handler(retry=Retry(on=('json.loads',)))\ndef f(): ...", "no class of an error here"),
        ("@on_slot_start\nasync def f(): ...", "has no event loop"),
        ("@handler(schedule='0 25 * * *')\ndef f(): ...", "hour: 25 is outside 0-23"),
        ("@handler(schedule='@daily', time_zone='Mars/Olympus')\ndef f(): ...", "not a time zone known here"),
        ("@handler(schedule='@daily')\ndef f(day: int, *, ctx: Context): ...", "day has no default"),
        ("@handler(name='a_b', schedule='@daily')\ndef f(): ...\n@handler(name='a:b', schedule='@daily')\ndef g(): ...",
         "would both have the schedule a-b"),
        (TYPE_CHECKING + "if TYPE_CHECKING:\n    from x import Y\n@handler\ndef f(y: Y): ...", "import it outside of"),
    ],
)  # fmt: skip
def test_what_could_never_work_is_refused_at_import(load: Import, text: str, said: str) -> None:
    future, _, rest = text.rpartition(TYPE_CHECKING)
    with pytest.raises(AppError, match=said):
        load((TYPE_CHECKING if rest != text else "") + IMPORTS + future + rest)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("@handler(retry=Retry(on=('OSError', 'builtins.KeyError', 'HandlerError', 'exit:3')))\ndef f(): ...",
                     id="names of errors, reasons and exits"),
        pytest.param("@handler(retry=Retry(on=('Late', 'made_app_0.Late')))\ndef f(): ...\nclass Late(Exception): ...",
                     id="an error that is defined further down"),
        pytest.param("import json\n@handler(retry=Retry(on=('json.JSONDecodeError',)))\ndef f(): ...",
                     id="an error by the name that it is imported by"),
        pytest.param("@handler(retry=Retry(on=('wsgiref.nowhere.Error',)))\ndef f(): ...",
                     id="an error of a module that is imported later"),
        pytest.param("@handler(schedule='0 3 * * mon-fri', time_zone='Europe/Berlin')\ndef f(day: int = 1, *, ctx: Context): ...",
                     id="a schedule"),
        pytest.param("@handler\ndef f() -> dict[str, object]: ...", id="a plain result"),
        pytest.param("def g(): yield 1\n@handler\ndef f(): return list(g())", id="a function that uses a generator"),
    ],
)  # fmt: skip
def test_what_may_well_work_is_taken(load: Import, text: str) -> None:
    assert "f" in load(IMPORTS + text).handlers


def test_a_result_type_for_type_checkers_alone_does_not_stop_the_start(load: Import) -> None:
    found = load(
        """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        from longshore import Context, handler
        if TYPE_CHECKING:
            from nowhere import Answer

        @handler
        def asks(question: str, times: int = 1, *, ctx: Context) -> dict[str, Answer]: ...
        """
    )

    assert {"question", "times"} == set(found.handlers["asks"].schema()["properties"])  # type: ignore[call-overload]
    assert "ctx" == found.handlers["asks"].context_parameter


def test_a_process_without_an_application_does_without_what_applications_need() -> None:
    """gunicorn's arbiter holds what it imports for as long as the service lives."""
    code = "import sys, longshore.api.connections.read_ahead; print('pydantic' in sys.modules, 'flask' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "False False\n" == found.stdout


def test_each_name_of_the_surface_is_there_when_it_is_asked_for() -> None:
    code = (
        "from longshore import *; import longshore; print([vars(longshore)[n] is globals()[n] for n in dir(longshore)])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"{[True] * len(longshore.__all__)}\n" == found.stdout
    with pytest.raises(AttributeError, match="no attribute 'handlr'"):
        longshore.handlr  # noqa: B018  # asking is the test
