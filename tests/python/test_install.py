"""Goal: the installed package is what a user was promised: quick to import, small, and enough for C.

Method: the package that is imported here; what needs an installed one says so when it is not.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import dskvs
import pytest
from dskvs import _core

HOME = Path(_core.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[2]

needs_installed = pytest.mark.skipif(
    not (HOME / "lib" / "libdskvs.so.0").is_file(), reason="runs in the build tree, not installed"
)
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

PROGRAM = """
#include <dskvs/dskvs.h>
#include <stdio.h>
int main(void) { return puts(dskvs_version()) < 0; }
"""


def place(option: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "dskvs", option], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_the_version_has_one_source():
    header = (REPOSITORY / "capi/include/dskvs/dskvs.h").read_text()
    numbers = re.findall(r"^#define DSKVS_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", header, re.M)
    assert dskvs.__version__ == ".".join(numbers)


@needs_installed
def test_the_metadata():
    assert metadata.version("dskvs") == dskvs.__version__
    assert all("extra ==" in needed for needed in metadata.requires("dskvs") or [])


def test_everything_public_is_documented():
    for name in dskvs.__all__:
        if name.startswith("__") or isinstance(getattr(dskvs, name), int):
            continue
        assert getattr(dskvs, name).__doc__, name
    for kind in (dskvs.Store, dskvs.Collection):
        for name in dir(kind):
            if not name.startswith("_"):
                assert getattr(kind, name).__doc__, f"{kind.__name__}.{name}"


def test_import_is_quick_and_small(run_python):
    code = """
import sys, time
before = set(sys.modules)
started = time.process_time()
import dskvs
print(time.process_time() - started)
print(*(set(sys.modules) - before))
"""
    run_python(code)  # writes the byte code
    took, modules = min(
        (result.stdout.splitlines() for result in (run_python(code) for _ in range(5))),
        key=lambda lines: float(lines[0]),
    )
    assert float(took) < 0.015
    assert not {"asyncio", "logging", "threading", "warnings", "typing"} & set(modules.split())


@needs_installed
def test_the_wheel_is_small_and_has_no_links():
    installed = metadata.files("dskvs") or []
    # As they are in the wheel: without what installing it has made.
    files = {
        str(file): Path(str(file.locate()))
        for file in installed
        if file.suffix != ".pyc" and ".." not in file.parts
    }
    assert not any(file.is_symlink() for file in files.values())
    assert {"_core.pyi", "py.typed", "METADATA"} <= {file.name for file in files.values()}
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files.items():
            archive.write(file, name)
    assert len(wheel.getvalue()) < 500_000


@needs_installed
@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf")
def test_what_is_compiled_is_hardened():
    compiled = [HOME / "bin" / "dskvs", HOME / "lib" / "libdskvs.so.0", Path(_core.__file__)]
    for file in compiled:
        told = subprocess.check_output(["readelf", "-dlW", file], text=True)
        assert re.search(r"FLAGS_1.*\bNOW\b", told), file
        assert "GNU_RELRO" in told, file
        assert not re.search(r"GNU_STACK.*RWE", told), file


@needs_installed
def test_the_help_lists_the_places_and_the_tool_s_commands():
    for option in ("--help", "-h"):
        text = place(option)
        for word in ("--include", "--lib", "--cmakedir", "--pkgconfigdir", "dskvs COMMAND", "salvage"):
            assert word in text


@needs_installed
@needs_compiler
def test_a_c_program_by_flags(tmp_path):
    source = tmp_path / "program.c"
    source.write_text(PROGRAM)
    lib = place("--lib")
    subprocess.run(
        ["cc", source, "-o", tmp_path / "program", "-I", place("--include"), "-L", lib]
        + ["-l:libdskvs.so.0", f"-Wl,-rpath,{lib}"],
        check=True,
    )
    assert subprocess.check_output([tmp_path / "program"], text=True).strip() == dskvs.__version__


@needs_installed
@needs_compiler
@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="no pkg-config")
def test_a_c_program_by_pkg_config(tmp_path):
    source = tmp_path / "program.c"
    source.write_text(PROGRAM)
    environment = {**os.environ, "PKG_CONFIG_PATH": place("--pkgconfigdir")}
    flags = subprocess.check_output(
        ["pkg-config", "--cflags", "--libs", "dskvs"], text=True, env=environment
    ).split()
    subprocess.run(["cc", source, "-o", tmp_path / "program", *flags], check=True)
    environment["LD_LIBRARY_PATH"] = place("--lib")
    output = subprocess.check_output([tmp_path / "program"], text=True, env=environment)
    assert output.strip() == dskvs.__version__


@needs_installed
@needs_compiler
@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")
def test_a_c_program_by_cmake(tmp_path):
    (tmp_path / "program.c").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(program C)\n"
        "find_package(dskvs REQUIRED)\nadd_executable(program program.c)\n"
        "target_link_libraries(program PRIVATE dskvs::dskvs)\n"
    )
    build = tmp_path / "build"
    configure = ["cmake", "-S", tmp_path, "-B", build, f"-Ddskvs_DIR={place('--cmakedir')}"]
    for command in (configure, ["cmake", "--build", build]):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    assert subprocess.check_output([build / "program"], text=True).strip() == dskvs.__version__


@needs_installed
def test_the_command_line_tool_is_inside(path):
    def tool(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "dskvs", *arguments], capture_output=True, text=True
        )

    with dskvs.open(path) as db:
        db["a/1"] = b"one"
    found = tool("get", path, "a/1")
    assert (found.returncode, found.stdout.rstrip("\n")) == (0, "one")
    assert tool("get", path, "a/none").returncode == 1
    assert tool("--version").stdout.split()[-1] == dskvs.__version__


def test_a_module_without_its_tool_says_so(tmp_path):
    if (HOME / "bin" / "dskvs").exists():
        pytest.skip("the tool is there")
    result = subprocess.run([sys.executable, "-m", "dskvs"], capture_output=True, text=True)
    assert result.returncode == 5
    assert "bin/dskvs" in result.stderr
