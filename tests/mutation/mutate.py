#!/usr/bin/env python3
"""Breaks the core, but for its tables and the arena, in small ways: does a test notice?

usage: mutate.py [--mutants N | --minutes M | --only ID ...] [--seed S] [--even] [--quick S] [--list]
                 [SOURCE ...]

A mutant is a SOURCE of the core with one operator, constant, early return or statement changed. It
is named FILE:LINE:COLUMN:KIND, and --only makes just those. Otherwise --seed chooses a sample, of N
or of as many as M minutes allow; --even takes as many of each SOURCE, however long it is. Each is
built in a copy of the tree, below build/mutation or --build DIR, and the tests that can see it run
until one fails: those first that have killed most in their time, of this SOURCE above all. --quick
leaves out those that take longer than S seconds. A test that does not end has failed. Where the
compiler makes the same code of it, it is no mutant. What survives is equivalent, or a gap in the
tests: somebody must look at it, and, after --quick, make it again with all tests first.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DISK = ("segment_format", "segment_reader", "segment_replay", "log_survey", "recovery", "salvage",
        "log_writer", "store_directory")  # fmt: skip
PERSISTER = ("rescuer", "epoch_writer", "reception", "persister", "pace", "log_bounds",
             "housekeeping")  # fmt: skip
SOURCES = [
    *(f"core/disk/{name}.cc" for name in DISK),
    *(f"core/persister/{name}.cc" for name in PERSISTER),
    "core/memory/epoch.cc",
    "core/loader.cc",
    "core/store.cc",
    "core/store_copy.cc",
]
ROUND = 80  # so many mutants are sorted by file, so that only one file at a time is not as it was
ABORT = ("--abort",)  # at the first failure
MEMORY_MAX = 6 << 30  # of a test that has run wild
OUTCOMES = ("killed", "does not compile", "same code", "survived")

KINDS = {
    "<": ("le", "ge"), "<=": ("lt", "gt"), ">": ("ge", "le"), ">=": ("gt", "lt"),
    "==": ("ne",), "!=": ("eq",), "&&": ("or",), "||": ("and",),
    "+": ("minus",), "-": ("plus",), "+=": ("less",), "-=": ("more",),
}  # fmt: skip
NEW = {
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "or": "||", "and": "&&",
    "minus": "-", "plus": "+", "less": "-=", "more": "+=",
}  # fmt: skip
VOID = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'|^[ \t]*#[^\n]*'
FIXED = r"\bstatic_assert\([^;]*;|^[^\n(]*\bconstexpr\b[^;(]*[={][^;]*;"
OPERATOR = re.compile(r"(?<= )(?:[<>=!]=|[-+]=?|[<>]|&&|\|\|)(?=\s)")  # as clang-format spaces them
NOT = re.compile(r"!(?=[\w(*])")
NUMBER = re.compile(r"(?<![\w.'])(0x[\da-fA-F']+|\d[\d']*)(?:[uU][lL]*)?(?![\w.])")
TRUTH = re.compile(r"\b(true|false)\b")
LEAVING = re.compile(r"(?:(?<=\) )|(?<=\n    )[ ]*)\b(return|break|continue)\b[^;{}]*;")
STATEMENT = re.compile(
    r"(?<=[;{})])(\s+)(?!(?:return|throw|delete|else|case|break|continue|const|using)\b)"
    r"((?:\(void\))?(?:\+\+|--|\*)?[A-Za-z_][\w:]*(?:->|\.|::|\w|\[[^\]]*\]|\(\))*"
    r"(?:\(| [-+]?= |(?<=\w)(?=;)))"
)


@dataclass(frozen=True, order=True)
class Mutant:
    file: str
    begin: int
    end: int
    kind: str
    text: str  # in the place of what stands between
    name: str = field(compare=False)


@dataclass
class Test:
    """A test, its target, and how it has done so far."""

    target: str
    arguments: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    timeout: float = 300
    spent: float = 0  # seconds
    kills: Counter[str] = field(default_factory=Counter)  # of mutants of each file

    def price(self, file: str) -> float:
        """Returns what a kill has cost so far; one of the same file tells most."""
        return self.spent / (1 + self.kills.total() + 4 * self.kills[file])

    def __str__(self) -> str:
        return " ".join((self.target, *(word for word in self.arguments if word not in ABORT)))


TESTS = [
    Test("segment_format_test", ABORT),
    Test("hostile_log_test", ABORT),
    Test("log_writer_test", (*ABORT, "~a fault at any call*")),
    Test("log_writer_test", (*ABORT, "a fault at any call*")),
    Test("recovery_test", ABORT, {"DSKVS_DAMAGE_ROUNDS": "1000"}),
    Test("failing_read_test", (*ABORT, r"~reading\, checking*")),
    Test("failing_read_test", (*ABORT, r"reading\, checking*")),
    Test("hostile_memory_test", (*ABORT, "what a hole*,a store whose*,a read that*")),
    Test("loader_test", ABORT, {"DSKVS_LOADER_ROUNDS": "6"}),
    Test("persister_policy_test", ABORT),
    Test("rescuer_test", ABORT),
    Test("target_test", ABORT),
    Test("full_disk_test", ABORT),
    Test("rescue_test", ABORT),
    Test("cleaning_test", (*ABORT, "~the log stays*")),
    Test("cleaning_test", (*ABORT, "the log stays*"), {"DSKVS_BOUND_ROUNDS": "2"}),
    Test("fuzz_bodies_test", ABORT, {"DSKVS_FUZZ_RUNS": "200"}),
    Test("model_test", ABORT, {"DSKVS_MODEL_RUNS": "6"}),
    Test("fault_test", ABORT, {"DSKVS_FAULT_RUNS": "2000"}),
    Test("allocation_test", ABORT, {"DSKVS_ALLOCATION_RUNS": "2000"}),
    *(Test(f"{name}_test", ABORT) for name in ("epoch", "grace_period", "reception")),
    *(Test(f"capi_{name}_test", ABORT) for name in ("semantics", "lifetime", "limits", "memory")),
    Test("capi_refusal_test", ABORT),
    Test("capi_disk_test", ABORT, {"DSKVS_OVERWRITES": "50000"}),
    Test("capi_race_test", ABORT, {"DSKVS_RACES": "1000"}),
    Test("linearizability_test", ABORT, {"DSKVS_LINEARIZABILITY_CALLS": "300000"}),
    Test("cut_test", ABORT, {"DSKVS_CUT_SECONDS": "1"}),
    Test("schedule_explorer", ("--runs", "2000")),
    *(Test("crash_explorer", ("--only", str(script))) for script in range(200, 5600, 600)),
    *(Test("crash_explorer", ("--only", str(script))) for script in range(6001, 6011)),
]


# ---- Making mutants.


def blank(pattern: str, text: str) -> str:
    """Returns the text with spaces for whatever matches: places stay what they are."""
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=re.M | re.S)


def statement_end(code: str, at: int) -> int:
    """Returns where the statement ends whose beginning is before `at`; 0: it is none."""
    depth = 1 if code[at - 1] == "(" else 0
    while depth > 0 or code[at] != ";":
        if depth == 0 and code[at] == "{" and "=" not in code[at - 12 : at]:
            return 0
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(code[at], 0)
        at += 1
        if depth < 0 or at == len(code):
            return 0
    return at + 1


def changes(code: str) -> Iterator[tuple[int, int, str, str]]:
    """Yields begin, end, kind and new text of each change of code without comments and strings."""
    for match in OPERATOR.finditer(code):
        for kind in KINDS.get(match[0], ()):
            yield *match.span(), kind, NEW[kind]
    for match in NOT.finditer(code):
        yield *match.span(), "not", ""
    for match in NUMBER.finditer(code):
        for kind, sign in (("up", "+"), ("down", "-")):
            yield *match.span(), kind, f"({match[0]} {sign} 1)"
    for match in TRUTH.finditer(code):
        yield *match.span(), "flip", "false" if match[0] == "true" else "true"
    for match in LEAVING.finditer(code):
        yield match.start(1), match.end(), "stay", ";"
    for match in STATEMENT.finditer(code):
        end = statement_end(code, match.end())
        before = code[: match.start()]
        if end != 0 and not before.endswith("(void)"):
            yield match.start(2), end, "skip", ";"


def mutants_of(file: str) -> list[Mutant]:
    text = (ROOT / file).read_text("utf-8")
    code = blank(FIXED, blank(VOID, text))
    found = []
    for begin, end, kind, new in changes(code):
        line = text.count("\n", 0, begin) + 1
        column = begin - text.rfind("\n", 0, begin)
        found.append(Mutant(file, begin, end, kind, new, f"{file}:{line}:{column}:{kind}"))
    return sorted(found)


def shown(mutant: Mutant) -> str:
    text = (ROOT / mutant.file).read_text("utf-8")
    first = text.rfind("\n", 0, mutant.begin) + 1
    last = text.find("\n", mutant.end)
    line = f"{text[first : mutant.begin]}[{text[mutant.begin : mutant.end]} -> {mutant.text}]"
    return " ".join(f"{line}{text[mutant.end : last]}".split())


# ---- Building and running them.


class Workshop:
    """A copy of the tree, and a build of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        folder = arguments.build.resolve()
        self.source, self.build, self.jobs = folder / "source", folder / "build", arguments.jobs
        self.environment = {**os.environ, "DSKVS_SEED": str(arguments.seed)}
        self.objects: dict[str, bytes] = {}
        self.copy_tree()
        self.run_or_exit(
            "cmake", "-G", "Ninja", "-S", self.source, "-B", self.build, "-DDSKVS_WERROR=OFF",
            "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1",
            *(f"-D{define}" for define in arguments.define),
        )  # fmt: skip

    def run_or_exit(self, *command: str | Path) -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"mutate: {command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def copy_tree(self) -> None:
        listing = subprocess.check_output(["git", "-C", ROOT, "ls-files", "-z"], text=True)
        for name in listing.split("\0"):
            if name and (ROOT / name).is_file():
                self.write(name, (ROOT / name).read_bytes())

    def write(self, name: str, content: bytes) -> None:
        path = self.source / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def make(self, target: str) -> bool:
        ninja = ["ninja", "-C", self.build, f"-j{self.jobs}", target]
        return subprocess.run(ninja, capture_output=True).returncode == 0

    def object_of(self, file: str) -> bytes:
        within = Path(file).relative_to("core")
        return (self.build / f"core/CMakeFiles/dskvs_core.dir/{within}.o").read_bytes()

    def passes(self, test: Test) -> bool:
        """Runs a test, and whatever it starts for no longer than its timeout."""
        begin = time.monotonic()
        process = subprocess.Popen(
            [next(self.build.rglob(test.target)), *test.arguments],
            env={**self.environment, **test.variables},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX, MEMORY_MAX)),
        )  # fmt: skip
        try:
            return process.wait(test.timeout) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            test.spent += time.monotonic() - begin

    def prove(self, files: list[str], quick: float) -> None:
        """Refuses a tree that fails by itself, and learns how long each test takes."""
        for test in TESTS:
            test.timeout = min(test.timeout, quick)
            fails = not self.make(test.target) or not self.passes(test)
            if fails and test.spent < quick:
                sys.exit(f"mutate: without any change this fails: {test}")
            outcome = "left out" if fails else "passes"
            print(f"{outcome:16} {test.spent:6.1f} s  {test}", flush=True)
            test.timeout = 5 + 5 * test.spent
        TESTS[:] = [test for test in TESTS if test.spent < quick]
        self.objects = {file: self.object_of(file) for file in files}

    def judge(self, mutant: Mutant) -> tuple[str, str]:
        """Returns the outcome, and the test that brought it about."""
        text = (ROOT / mutant.file).read_text("utf-8")
        self.write(mutant.file, (text[: mutant.begin] + mutant.text + text[mutant.end :]).encode())
        try:
            if not self.make("dskvs_core"):
                return "does not compile", ""
            if self.object_of(mutant.file) == self.objects[mutant.file]:
                return "same code", ""
            for test in sorted(TESTS, key=lambda test: test.price(mutant.file)):
                begin = time.monotonic()
                if not self.make(test.target):
                    return "does not compile", ""
                test.spent += time.monotonic() - begin
                if not self.passes(test):
                    test.kills[mutant.file] += 1
                    return "killed", str(test)
            return "survived", ""
        finally:
            self.write(mutant.file, text.encode())


# ---- The campaign.


def chosen(arguments: argparse.Namespace) -> list[Mutant]:
    """Returns the mutants to make, in their order."""
    every = [mutant for file in arguments.sources for mutant in mutants_of(file)]
    if arguments.only:
        return [mutant for mutant in every if mutant.name in arguments.only]
    if arguments.mutants is None and arguments.minutes is None:
        return every
    random.Random(arguments.seed).shuffle(every)
    if arguments.even:
        taken: Counter[str] = Counter()
        ranked = []
        for mutant in every:
            ranked.append((taken[mutant.file], mutant.file, mutant))
            taken[mutant.file] += 1
        every = [mutant for _, _, mutant in sorted(ranked)]
    every = every[: arguments.mutants]
    rounds = [sorted(every[i : i + ROUND]) for i in range(0, len(every), ROUND)]
    return [mutant for some in rounds for mutant in some][arguments.skip :]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter, usage=argparse.SUPPRESS
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", default=SOURCES)
    parser.add_argument("--mutants", type=int, metavar="N")
    parser.add_argument("--minutes", type=float, metavar="M", help="of making them")
    parser.add_argument("--skip", type=int, metavar="N", default=0, help="that were made before")
    parser.add_argument("--only", nargs="+", metavar="ID")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--even", action="store_true", help="as many of each source")
    parser.add_argument(
        "--quick", type=float, metavar="S", default=float("inf"), help="no test that takes longer"
    )
    parser.add_argument("--list", action="store_true", help="only say which they would be")
    parser.add_argument("--build", type=Path, metavar="DIR", default=ROOT / "build" / "mutation")
    parser.add_argument(
        "--define", "-D", action="append", default=[], metavar="NAME=VALUE", help="for CMake"
    )
    parser.add_argument("--jobs", "-j", type=int, default=os.cpu_count())
    return parser.parse_args()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("mutate: ended"))  # and so does its test
    arguments = parse()
    mutants = chosen(arguments)
    print(f"mutate: {len(mutants)} mutants, --seed {arguments.seed}", flush=True)
    if arguments.list:
        for mutant in mutants:
            print(f"{mutant.name}  {shown(mutant)}")
        return 0
    workshop = Workshop(arguments)
    workshop.prove(arguments.sources, arguments.quick)
    deadline = time.monotonic() + 60 * (arguments.minutes or float("inf"))
    counts: dict[str, Counter[str]] = {file: Counter() for file in arguments.sources}
    survivors = []
    for mutant in mutants:
        if time.monotonic() > deadline:
            break
        outcome, test = workshop.judge(mutant)
        counts[mutant.file][outcome] += 1
        print(f"{outcome:16} {test:26} {mutant.name}  {shown(mutant)}", flush=True)
        if outcome == "survived":
            survivors.append(mutant)
    print()
    for file, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{file:32}", ", ".join(f"{count[outcome]} {outcome}" for outcome in OUTCOMES))
    for mutant in survivors:
        print(f"survived: {mutant.name}  {shown(mutant)}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
