"""The command line of all tests here."""

from pathlib import Path

import pytest

from command_line import Cli
from service import Service


@pytest.fixture
def longshore(shared_service: Service, tmp_path: Path) -> Cli:
    """The command line, pointed at the shared service."""
    return Cli(shared_service.url, tmp_path)
