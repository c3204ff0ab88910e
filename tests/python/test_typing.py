"""Goal: the types say what the package does, to mypy and pyright, and to users of both.

Method: stubtest compares the stub of the extension with the extension; mypy and pyright check the
package, and a program whose right lines must pass and whose wrong ones must not. Each tool is skipped
when it is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dskvs
import pytest

PACKAGE = Path(dskvs.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[2]

needs_mypy = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="no mypy")
needs_pyright = pytest.mark.skipif(
    importlib.util.find_spec("pyright") is None and shutil.which("pyright") is None,
    reason="no pyright",
)

RIGHT = """
import dskvs
from collections.abc import Mapping, MutableMapping

def use(db: dskvs.Store) -> None:
    mapping: MutableMapping[str, bytes] = db
    read_only: Mapping[str, bytes] = db.collection(b"a")
    db["a/1"] = bytearray(b"one")
    db[b"a/2"] = memoryview(b"two")
    value: bytes = db["a/1"]
    maybe: bytes | None = db.get("a/1")
    either: bytes | int = db.get("a/1", 5)
    popped: bytes = db.pop("a/1", b"")
    view: memoryview | None = db.view("a/1")
    db.put_if("a/1", b"two", view)
    everything: dict[str, bytes] = db.get_all("a")
    dirty: int = db.stats().dirty_bytes
    db.update({"a/1": b"one"})
    db.update([(b"a/1", bytearray())], more=b"")
    names: list[str] = [key for key in db]
    pairs: list[tuple[str, bytes]] = list(db.items())
    db.wait(db.mark(), dskvs.WRITTEN, timeout=0.5)
    damage: list[tuple[str, str]] = dskvs.verify(db.path)

async def wait(db: dskvs.Store) -> None:
    await db.sync_async(timeout=1)

with dskvs.open("path", "r", progress=lambda done, total: print(done, total)) as store:
    use(store)
"""

WRONG = [
    'db["a/1"] = "text"',
    "db[5]",
    'value: str = db["a/1"]',
    'value: bytes = db.get("a/1")',
    'db.put_if("a/1", b"", b"")',
    "db.stats().no_such",
    'dskvs.open("path", sync_interval_ms="5")',
    "db.wait()",
    "db.update({5: b''})",
]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The right lines, and the wrong ones each on its own line at the end."""
    lines = [f"def wrong_{i}(db: dskvs.Store) -> None: {line}" for i, line in enumerate(WRONG)]
    file = tmp_path / "program.py"
    file.write_text(RIGHT + "\n".join(lines) + "\n")
    return file


def expected_lines(program: Path) -> list[int]:
    count = len(program.read_text().splitlines())
    return list(range(count - len(WRONG) + 1, count + 1))


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MYPYPATH": str(PACKAGE.parent)}
    if "site-packages" in PACKAGE.parts:
        del environment["MYPYPATH"]  # mypy finds it there, and refuses to be told
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


@needs_mypy
def test_stubtest(tmp_path):
    result = run(sys.executable, "-m", "mypy.stubtest", "dskvs._core", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_mypy
def test_mypy_on_the_package(tmp_path):
    config = REPOSITORY / "pyproject.toml"
    result = run(
        sys.executable, "-m", "mypy", "--config-file", config, "-p", "dskvs", cwd=tmp_path
    )
    assert result.returncode == 0, result.stdout + result.stderr


@needs_mypy
def test_mypy_on_a_program(program):
    result = run(sys.executable, "-m", "mypy", "--strict", program, cwd=program.parent)
    lines = [line for line in result.stdout.splitlines() if ": error: " in line]
    assert sorted({int(line.split(":")[1]) for line in lines}) == expected_lines(program), result.stdout


def pyright(folder: Path) -> list[dict]:
    """Every error that pyright finds in folder, in its strict mode."""
    settings = {
        "typeCheckingMode": "strict",
        "reportPrivateUsage": False,
        "reportMissingModuleSource": False,
        "reportUnusedVariable": False,
        "reportUnusedExpression": False,
        "extraPaths": [str(PACKAGE.parent)],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = (
        [sys.executable, "-m", "pyright"]
        if importlib.util.find_spec("pyright")
        else [shutil.which("pyright") or "pyright"]
    )
    result = run(*command, "--outputjson", "--pythonpath", sys.executable, cwd=folder)
    if result.returncode not in (0, 1):
        pytest.skip(f"pyright does not run here: {result.stderr.strip()[:200]}")
    return [
        found
        for found in json.loads(result.stdout)["generalDiagnostics"]
        if found["severity"] == "error"
    ]


@needs_pyright
def test_pyright_on_the_package(tmp_path):
    for file in PACKAGE.glob("*.py*"):
        if file.suffix in (".py", ".pyi"):
            (tmp_path / "dskvs").mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / "dskvs")
    assert pyright(tmp_path) == []


@needs_pyright
def test_pyright_on_a_program(program):
    lines = {found["range"]["start"]["line"] + 1 for found in pyright(program.parent)}
    assert sorted(lines) == expected_lines(program)
