#!/usr/bin/env python3
"""Checks that the tests have taken every branch of the format, the recovery and the cleaning.

usage: check.py BUILD

BUILD is a build with DSKVS_COVERAGE whose tests have run: its profiles/ hold what they counted. A
branch is a condition, each part of an && and || by itself; it must have been true and false, in
whatever instance of a template. exceptions.txt says what need not be. An exception that excuses
nothing is a finding too, unless chance decides about it. Exit status 1 when there is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXCEPTIONS = Path(__file__).with_name("exceptions.txt")
MEASURED = [
    "core/disk/log_*",
    "core/disk/patient_directory.*",
    "core/disk/recovery.*",
    "core/disk/salvage.*",
    "core/disk/segment_*",
    "core/loader.*",
    "core/memory/graveyard.h",
    "core/memory/sweep.h",
    "core/persister/epoch_writer.*",
    "core/persister/log_bounds.*",
    "core/persister/pace.*",
    "core/persister/persister.*",
    "core/persister/reception.*",
    "core/persister/rescuer.*",
]

Place = tuple[int, int, int, int]  # first line and column, last line and column


@dataclass(frozen=True)
class Outcome:
    """One outcome of one condition: what an exception names."""

    file: str
    condition: str
    outcome: str  # "true" or "false"

    def __str__(self) -> str:
        return f"never {self.outcome}: {self.condition}"


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def export_branches(build: Path) -> dict[str, list[list[int]]]:
    """Returns the branches of each measured file, each as often as there are instances of it."""
    # The library holds all of the core, and what the tests link of it counts for it.
    merged = build / "profiles" / "all.profdata"
    raw = sorted(merged.parent.glob("*.profraw"))
    if not raw:
        sys.exit(f"coverage: no profiles in {merged.parent}")
    run("llvm-profdata", "merge", "-sparse", "-o", merged, *raw)
    measured = []
    for pattern in MEASURED:
        found = sorted(ROOT.glob(pattern))
        if not found:
            sys.exit(f"coverage: there is no {pattern}")
        measured += found
    exported = run(
        "llvm-cov", "export", "-skip-functions", "-skip-expansions",
        f"-instr-profile={merged}", build / "capi" / "libdskvs.so", *measured,
    )  # fmt: skip
    files = json.loads(exported)["data"][0]["files"]
    return {Path(file["filename"]).relative_to(ROOT).as_posix(): file["branches"] for file in files}


def condition_at(lines: list[str], place: Place) -> str:
    """Returns the text of a condition, a line break taken for a space; "" for what is none."""
    first, begin, last, end = place
    if lines[first - 1][: begin - 1].endswith("switch ("):
        return ""  # a value without a case, which -Wswitch does not let through
    part = lines[first - 1 : last]
    part[-1] = part[-1][: end - 1]
    part[0] = part[0][begin - 1 :]
    text = " ".join(" ".join(part).split())
    if text == ":":  # of a loop over a range
        return lines[first - 1].strip()
    return "" if text == "true" else text


def outcomes(file: str, branches: list[list[int]]) -> list[tuple[int, Outcome, bool]]:
    """Returns the outcomes that the file has: line, outcome, whether it came about."""
    counts: Counter[tuple[Place, str]] = Counter()
    for first, begin, last, end, true, false, *_ in branches:
        counts[(first, begin, last, end), "true"] += true
        counts[(first, begin, last, end), "false"] += false
    lines = (ROOT / file).read_text("utf-8").splitlines()
    found = []
    for (place, outcome), count in sorted(counts.items()):
        condition = condition_at(lines, place)
        if condition:
            found.append((place[0], Outcome(file, condition, outcome), count > 0))
    return found


def read_exceptions() -> dict[Outcome, str]:
    """Reads lines of `file :: condition :: outcome :: reason`; each excuses one outcome."""
    exceptions = {}
    for line in EXCEPTIONS.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            file, condition, outcome, reason = line.split(" :: ", 3)
            exceptions[Outcome(file, condition, outcome)] = reason
    return exceptions


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    exceptions = read_exceptions()
    excused: set[Outcome] = set()
    known: set[Outcome] = set()
    findings = []
    for file, branches in sorted(export_branches(Path(sys.argv[1]).resolve()).items()):
        all_outcomes = outcomes(file, branches)
        missing = [(line, outcome) for line, outcome, taken in all_outcomes if not taken]
        if all_outcomes:
            print(f"{file:36} {len(all_outcomes) - len(missing):4} of {len(all_outcomes):4}")
        known.update(outcome for _, outcome, _ in all_outcomes)
        for line, outcome in missing:
            if outcome in exceptions and outcome not in excused:
                excused.add(outcome)
            else:
                findings.append(f"{file}:{line}: {outcome}")
    for outcome, reason in exceptions.items():
        by_chance = reason.startswith("by chance") and outcome in known
        if outcome not in excused and not by_chance:
            findings.append(f"{EXCEPTIONS.name}: excuses nothing: {outcome.file}: {outcome}")
    for finding in findings:
        print(finding)
    print(f"coverage: {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
