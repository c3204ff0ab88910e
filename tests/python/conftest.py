"""What the tests of the Python package share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dskvs
import pytest


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A shell starts what runs in its background with SIGINT ignored; here, and in children, it counts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a store may be created."""
    return str(tmp_path / "store")


@pytest.fixture
def db(path: str) -> Iterator[dskvs.Store]:
    with dskvs.open(path) as store:
        yield store


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of a random test: DSKVS_SEED, or a fresh one. Printed, so that it can be replayed."""
    given = os.environ.get("DSKVS_SEED")
    number = int(given) if given else int.from_bytes(os.urandom(4), "little")
    print(f"{request.node.name}: DSKVS_SEED={number}")
    return number


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs code in a fresh interpreter, with arguments as sys.argv[1:]; fails unless it exits as expected."""

    def run(code: str, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
        )
        assert result.returncode == status, result.stdout + result.stderr
        return result

    return run
