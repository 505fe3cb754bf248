"""The results directory as a folder of a real file system, in which jobs may have left anything."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from longshore.errors import SettingsError
from longshore.store.results import ResultsFolder, open_results

NAME = "default/uid-1/job.1.0a1b2c3d.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As on a disk that is full: what is longer is cut, with an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_put_is_there_and_goes_with_its_folder(root: Path, durable: bool) -> None:
    results = ResultsFolder(root)
    results.put(NAME, b"first", durable=durable)
    results.put(NAME, b"second", durable=durable)
    results.put("default/uid-2/0.1.0a1b2c3d.json", b"", durable=durable)

    assert (b"second", b"") == (results.get(NAME, 6), results.get("default/uid-2/0.1.0a1b2c3d.json", 0))
    assert (["default"], ["uid-1", "uid-2"]) == (results.names(""), sorted(results.names("default")))
    results.remove("default/uid-1")
    results.remove("default/uid-1")
    assert ["uid-2"] == results.names("default")
    assert [] == results.names("default/uid-1")
    with pytest.raises(FileNotFoundError):
        results.get(NAME, 6)


def test_a_file_that_does_not_fit_leaves_the_one_before(root: Path) -> None:
    results = ResultsFolder(root)
    results.put(NAME, b"before", durable=True)
    with no_file_larger_than(8192), pytest.raises(OSError, match="File too large"):
        results.put(NAME, b"x" * 10_000, durable=True)

    assert (b"before", ["job.1.0a1b2c3d.json"]) == (results.get(NAME, 100), results.names("default/uid-1"))


def test_only_plain_files_of_a_bounded_size_are_read(root: Path) -> None:
    results, folder = ResultsFolder(root), root / "default/uid-1"
    results.put(NAME, b"12345", durable=True)
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()

    with pytest.raises(ValueError, match="more than 4 bytes"):
        results.get(NAME, 4)
    for odd in ("pipe", "folder"):
        with pytest.raises(ValueError, match="no plain file"):
            results.get(f"default/uid-1/{odd}", 100)


@pytest.mark.parametrize("link", ["default", "default/uid-1", NAME])
def test_no_link_leads_out_of_the_directory(root: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    (outside / "uid-1").mkdir(parents=True)
    secret = outside / "uid-1/job.1.0a1b2c3d.json"
    secret.write_text("secret")
    (outside / "job.1.0a1b2c3d.json").write_text("secret")
    target = {"default": outside, "default/uid-1": outside, NAME: secret}[link]
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(target)
    results = ResultsFolder(root)

    with pytest.raises(ValueError, match="not in plain folders"):
        results.get(NAME, 100)
    if link != NAME:
        with pytest.raises(OSError, match="symbolic links|Not a directory"):
            results.put(NAME, b"mine", durable=True)
        assert [] == results.names("default/uid-1")
    else:
        results.put(NAME, b"mine", durable=True)  # the link itself gives way
    try:
        results.remove("default/uid-1")
    except OSError:
        assert link == "default"
    assert "secret" == secret.read_text()


def test_a_directory_that_cannot_be_used_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "there").mkdir()
    for wrong in ("missing", "file"):
        with pytest.raises(SettingsError, match=f"results_dir: .*/{wrong} cannot be written to: (No such|Not a)"):
            open_results(tmp_path / wrong)

    assert open_results(None) is None
    found = open_results(tmp_path / "there")
    assert found is not None
    assert [] == found.names(""), "the probe leaves nothing"
    with no_file_larger_than(100), pytest.raises(SettingsError, match="File too large"):
        open_results(tmp_path / "there")


def test_folders_in_folders_without_end_are_an_error_like_any_other(root: Path) -> None:
    (root / "default/uid-1").mkdir(parents=True)
    here = os.open(root / "default/uid-1", os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(OSError, match="nested too deeply"):
        ResultsFolder(root).remove("default/uid-1")
    subprocess.run(["rm", "-r", root / "default"], check=True)  # neither can pytest
