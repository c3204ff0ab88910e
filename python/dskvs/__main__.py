"""python -m dskvs: the command line tool of this wheel, and where a C program finds the library."""

from __future__ import annotations

import os
import signal
import sys

from dskvs import _core

# Beside the module: also where the Python files lie elsewhere, as in an editable install.
_HOME = os.path.dirname(os.path.abspath(_core.__file__))
_PLACES = {
    "--include": os.path.join(_HOME, "include"),
    "--lib": os.path.join(_HOME, "lib"),
    "--cmakedir": os.path.join(_HOME, "lib", "cmake", "dskvs"),
    "--pkgconfigdir": os.path.join(_HOME, "lib", "pkgconfig"),
}

_HELP = """\
usage: python -m dskvs --include | --lib | --cmakedir | --pkgconfigdir

Prints where the package keeps its header, its library, its CMake package and its dskvs.pc, for
compiling C and C++ programs. With anything else it is the tool dskvs:
"""


def main() -> int:
    arguments = sys.argv[1:]
    if len(arguments) == 1 and arguments[0] in _PLACES:
        print(_PLACES[arguments[0]])
        return 0
    if len(arguments) == 1 and arguments[0] in ("--help", "-h"):
        print(_HELP, flush=True)  # and the tool's own
    # Python ignores these; a tool in a pipe should not.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    tool = os.path.join(_HOME, "bin", "dskvs")
    try:
        os.execv(tool, ["dskvs", *arguments])
    except OSError as error:
        print(f"dskvs: {tool}: {error.strerror}", file=sys.stderr)
    return 5


if __name__ == "__main__":
    sys.exit(main())
