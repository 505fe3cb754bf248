"""The token of a pool namespace, and which values an operator tries."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from longshore_operator.errors import ConfigError
from longshore_operator.pool_tokens import PoolTokens, derive

ROOT, NEXT = "r" * 32, "n" * 43


def by_another_library(root: str, namespace: str, generation: int) -> str:
    mac = HMAC(root.encode(), SHA256())
    mac.update(f"longshore.dev/worker-token/v1\n{namespace}\n{generation}".encode())
    return base64.urlsafe_b64encode(mac.finalize()).decode().rstrip("=")


def test_the_derivation_is_hmac_sha256_over_namespace_and_generation() -> None:
    cases = [(root, name, n) for root in (ROOT, NEXT) for name in ("a", "b", "a-1") for n in (1, 11)]
    assert [by_another_library(*case) for case in cases] == [derive(*case) for case in cases]
    assert len(cases) == len({derive(*case) for case in cases})


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_each_namespace_is_tried_with_its_own_values_the_newest_first(tmp_path: Path) -> None:
    own, root = write(tmp_path / "own", "new\nold\n"), write(tmp_path / "root", ROOT)
    tokens = PoolTokens("ls", own, root, generation=3)

    assert ["new", "old"] == tokens.of("ls") == tokens.of("")
    assert [derive(ROOT, "team-a", 3), derive(ROOT, "team-a", 2)] == tokens.of("team-a")
    assert not {"new", "old", ROOT} & set(tokens.of("team-a"))
    write(root, f"{NEXT}\n{ROOT}\n")
    assert [derive(key, "b", n) for key in (NEXT, ROOT) for n in (3, 2)] == tokens.of("b")
    first = PoolTokens("ls", None, write(root, ROOT))
    assert [derive(ROOT, "ls", 1)] == first.of("ls")


def test_without_a_root_secret_other_namespaces_have_no_token(tmp_path: Path) -> None:
    tokens = PoolTokens("ls", write(tmp_path / "own", "mine"), None)
    with pytest.raises(ConfigError, match="team-a.*root_secret_file"):
        tokens.of("team-a")
    assert [""] == PoolTokens("ls", None, None).of("ls"), "an operator by hand"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "one or two values"),
        (b"a b c", "one or two values"),
        (b"\xff" * 40, "not ASCII"),
        (b"x" * 5000, "one or two values"),
        (b"short", "at least 32"),
        (ROOT.encode() + b"\nshort", "at least 32"),
    ],
)
def test_a_root_secret_that_is_none_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "root"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=said):
        PoolTokens("ls", None, path).of("team-a")


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "longshore_operator", "token", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_the_token_of_a_namespace(tmp_path: Path) -> None:
    root = str(write(tmp_path / "root", f"{NEXT}\n{ROOT}\n"))

    assert derive(NEXT, "team-a", 1) + "\n" == ask("--namespace=team-a", f"--root-secret-file={root}").stdout
    second = ask("--namespace=team-a", "--generation=2", f"--root-secret-file={root}")
    assert derive(NEXT, "team-a", 2) + "\n" == second.stdout
    for wrong, said in (
        (["--namespace=team-a"], "root_secret_file"),
        (["--namespace=Bad", f"--root-secret-file={root}"], "no name of a namespace"),
        (["--namespace=a", "--generation=0", f"--root-secret-file={root}"], "TOKEN_GENERATION"),
    ):
        done = ask(*wrong)
        assert (1, "") == (done.returncode, done.stdout)
        assert said in done.stderr
