#!/usr/bin/env python3
"""Turns a benchmark run into the tables of docs/performance.md.

usage: tables.py RUN.jsonl [--write docs/performance.md]

Prints two Markdown tables: the goals with what was reached, and all stores side by side. With
--write it puts them between the markers of that document instead.
"""

import argparse
import re
import sys

from run_file import Run

SYNC_INTERVAL_MS = 100  # the default of dskvs
MEMORY_ONLY = ("sharded-map", "two-level", "tbb", "libcuckoo")

# Columns of the second table: heading, workload, figure.
COLUMNS = [
    ("W1 put first /10", "W1", "put_first.rate"),
    ("put rewrite", "W1", "put_rewrite.rate"),
    ("get pinned", "W1", "get_pinned.rate"),
    ("get copied", "W1", "get_copied.rate"),
    ("delete", "W1", "delete.rate"),
    ("W2 load /2", "W2", "load/2.rate"),
    ("get uniform /1", "W2", "get_uniform/1.rate"),
    ("/2", "W2", "get_uniform/2.rate"),
    ("/10", "W2", "get_uniform/10.rate"),
    ("zipf /2", "W2", "get_zipf/2.rate"),
    ("95/5 /2", "W2", "95_5/2.rate"),
    ("50/50 /2", "W2", "50_50/2.rate"),
    ("W3 get /2", "W3", "get_uniform/2.rate"),
    ("W3 50/50 /2", "W3", "50_50/2.rate"),
    ("W6 puts", "W6", "put.rate"),
    ("W5 B", "W5", "overhead_per_entry_bytes"),
]


def number(value):
    """Three digits that count, with k, M or G."""
    if value is None:
        return "–"
    for suffix in ("", "k", "M", "G"):
        if abs(value) < 1000:
            return f"{value:.3g}{suffix}"
        value /= 1000
    return f"{value:.3g}T"


def divide(a, b):
    return None if a is None or not b else a / b


class Goal:
    """One line: what is measured, the bound that it must hold, and the one that it should."""

    def __init__(self, name, value, least=None, aim=None, below=False, unit="×"):
        self.name, self.value, self.least, self.aim = name, value, least, aim
        self.below, self.unit = below, unit

    def _holds(self, bound):
        return self.value <= bound if self.below else self.value >= bound

    def verdict(self):
        if self.value is None:
            return "not measured"
        if self.least is None and self.aim is None:
            return ""
        if self.least is not None and not self._holds(self.least):
            return "**no**"
        if self.aim is None:
            return "yes"
        return "yes, and the aim" if self._holds(self.aim) else "not the aim"

    def row(self):
        sign = "≤" if self.below else "≥"
        bounds = ["" if bound is None else f"{sign} {bound:g}" for bound in (self.least, self.aim)]
        value = "–" if self.value is None else f"{self.value:.3g} {self.unit}".strip()
        return "| " + " | ".join([self.name, *bounds, value, self.verdict()]) + " |"


class Goals:
    def __init__(self, run):
        self.run = run
        self.lines = []

    def ours(self, workload, figure):
        return self.run.figure(workload, "dskvs", figure)

    def ratio(self, workload, figure, peer, peer_figure=None):
        return divide(
            self.ours(workload, figure), self.run.figure(workload, peer, peer_figure or figure)
        )

    def add(self, *arguments, **options):
        self.lines.append(Goal(*arguments, **options))

    def times(self, name, workload, figure, peer, least=None, aim=None):
        self.add(f"{name}, to {peer}", self.ratio(workload, figure, peer), least, aim)

    def rates(self):
        self.times("W1 put first", "W1", "put_first.rate", "kyoto", 5, 10)
        self.times("W1 put rewrite", "W1", "put_rewrite.rate", "kyoto", 1.5, 2)
        self.times("W1 get pinned", "W1", "get_pinned.rate", "lmdb", 1.5)
        self.times("W1 get pinned", "W1", "get_pinned.rate", "tbb", None, 1)
        self.times("W1 get copied", "W1", "get_copied.rate", "lmdb", 1)
        self.times("W1 get copied", "W1", "get_copied.rate", "tbb", None, 1)
        self.times("W1 delete", "W1", "delete.rate", "kyoto", 1.5, 4)
        self.times("W2 load /2", "W2", "load/2.rate", "kyoto", 1, 2)
        for threads in (1, 2, 10):
            figure = f"get_uniform/{threads}.rate"
            self.times(f"W2 get uniform /{threads}", "W2", figure, "kyoto", 1.3, 1.6)
            maps = [self.run.figure("W2", store, figure) for store in MEMORY_ONLY]
            best = max((rate for rate in maps if rate is not None), default=None)
            ratio = divide(self.ours("W2", figure), best)
            self.add(f"W2 get uniform /{threads}, to the best map in memory", ratio, aim=1)
        self.times("W2 zipf /2", "W2", "get_zipf/2.rate", "kyoto", 1.2, 1.5)
        self.times("W2 95/5 /2", "W2", "95_5/2.rate", "kyoto", 1.2, 1.4)
        self.times("W2 50/50 /2", "W2", "50_50/2.rate", "kyoto", 0.8, 1.2)
        self.times("W3 get uniform /2", "W3", "get_uniform/2.rate", "kyoto", 1.3, 1.6)
        self.times("W3 zipf /2", "W3", "get_zipf/2.rate", "kyoto", 1.2, 1.5)
        self.times("W3 95/5 /2", "W3", "95_5/2.rate", "kyoto", 1.2, 1.4)
        self.times("W3 50/50 /2", "W3", "50_50/2.rate", "kyoto", 0.8, 1.2)

    def reopening(self):
        both = "open_and_read_s"
        for cache in ("warm", "cold"):
            self.add(
                f"W4 1 M × 100 B, {cache}, seconds to LMDB's",
                self.ratio("W4-small", f"{cache}.{both}", "lmdb"),
                0.6,
                below=True,
            )
        self.add(
            "W4 1 M × 100 B, cold, seconds to Kyoto's",
            self.ratio("W4-small", f"cold.{both}", "kyoto"),
            aim=1,
            below=True,
        )
        self.add(
            "W4 1 M × 100 B, warm, open alone",
            self.ours("W4-small", "warm.open_s"),
            0.3,
            below=True,
            unit="s",
        )
        self.add(
            "W4 100,000 × 10,000 B, warm, seconds to Redis' open",
            self.ratio("W4-large", f"warm.{both}", "redis", "warm.open_s"),
            0.6,
            below=True,
        )
        self.add(
            "W4 100,000 × 10,000 B, cold, seconds to LMDB's",
            self.ratio("W4-large", f"cold.{both}", "lmdb"),
            1,
            below=True,
        )
        share = divide(
            self.ours("W4-large", "cold.sequential_read_s"), self.ours("W4-large", "cold.open_s")
        )
        self.add("W4 100,000 × 10,000 B, cold, open's rate to that of reading", share, 0.8)

    def space(self):
        self.add(
            "W5 bytes beyond key and value",
            self.ours("W5", "overhead_per_entry_bytes"),
            40,
            32,
            below=True,
            unit="B",
        )
        self.add(
            "100,000 collections of one member, bytes beyond key and value",
            self.ours("collections", "overhead_per_collection_bytes"),
            200,
            below=True,
            unit="B",
        )
        self.times("W6 puts", "W6", "put.rate", "lmdb", 3)
        self.times("W6 puts", "W6", "put.rate", "rocksdb", 10)
        self.times("W6 puts", "W6", "put.rate", "tkrzw", None, 1)
        self.add(
            "W6 bytes to disk per user byte",
            self.ours("W6", "sent_per_user_byte"),
            1.1,
            below=True,
            unit="",
        )
        live = self.ours("W6", "live_bytes")
        bound = None if live is None else 2 * live + 2**26
        self.add(
            "W6 most bytes on disk, to 2 × live + 64 MiB",
            divide(self.ours("W6", "disk.max_bytes"), bound),
            1,
            below=True,
        )
        self.add(
            "Hot keys: bytes put per byte to disk",
            self.ours("hot-keys", "user_per_logged_byte"),
            100,
            unit="",
        )

    def tails(self):
        self.add(
            "W7 get_all, median to LMDB's",
            self.ratio("W7", "get_all.p50_ns", "lmdb"),
            1,
            below=True,
        )
        self.add(
            "W7 get_all, median to the two-level map's",
            self.ratio("W7", "get_all.p50_ns", "two-level"),
            aim=1,
            below=True,
        )
        self.time("W7 delete_all, median", "W7", "delete_all.p50_ns", 50, "µs")
        tail = divide(self.ours("W8", "put.p99.99_ns"), self.ours("W8", "put.p50_ns"))
        self.add("W8 p99.99 to p50", tail, 20, below=True)
        for name, figure in (("idle", "machine"), ("busy", "busy_machine")):
            machine = divide(self.ours("W8", f"{figure}.p99.99_ns"), self.ours("W8", "put.p50_ns"))
            self.add(f"W8, what the {name} machine does to a thread as often, to p50", machine)
        self.time("W8 max", "W8", "put.max_ns", None, "ms")
        noise = self.ours("W8", "busy_machine.max_ns")
        most = self.ours("W8", "put.max_ns")
        beyond = None if noise is None or most is None else (most - noise) / 1e6
        self.add("W8 max beyond the busy machine's own", beyond, 5, below=True, unit="ms")

    def time(self, name, workload, figure, least, unit):
        nanoseconds = {"µs": 1e3, "ms": 1e6}[unit]
        value = divide(self.ours(workload, figure), nanoseconds)
        self.add(name, value, least, below=True, unit=unit)

    def lags(self):
        self.time("W9 isolated write, written, median", "W9", "isolated.written.p50_ns", 200, "µs")
        sync = self.ours("W9", "device_sync.p50_ns")
        durable = self.ours("W9", "isolated.durable.p50_ns")
        beyond = None if sync is None or durable is None else (durable - sync) / 1000
        name = "W9 isolated write, durable, median beyond a sync of the device"
        self.add(name, beyond, 200, below=True, unit="µs")
        self.time("W9 100,000/s, written, p99", "W9", "100000_per_s.written.p99_ns", 5, "ms")
        if sync is not None:
            bound = SYNC_INTERVAL_MS + 2 * sync / 1e6
            name = "W9 100,000/s, durable, p99, to the interval and two syncs"
            self.time(name, "W9", "100000_per_s.durable.p99_ns", bound, "ms")

    def persistence(self):
        for name, workload, figure in (
            ("W1 put rewrite", "W1", "put_rewrite.rate"),
            ("W2 load /2", "W2", "load/2.rate"),
            ("W2 50/50 /2", "W2", "50_50/2.rate"),
            ("W6 puts", "W6", "put.rate"),
        ):
            self.times(
                f"Syncing on against off: {name}", workload, figure, "dskvs-nosync", 0.7, 0.85
            )
        for figure in ("get_into_ns", "get_and_release_ns"):
            core = self.ours("lookup", f"core_{figure}")
            through = self.ours("lookup", figure)
            cost = None if core is None or through is None else through - core
            self.add(f"C ABI against the core, {figure[:-3]}", cost, 10, below=True, unit="ns")

    def table(self):
        for part in (
            self.rates,
            self.reopening,
            self.space,
            self.tails,
            self.lags,
            self.persistence,
        ):
            part()
        rows = ["| line | at least | aim | measured | reached |", "|---|---|---|---|---|"]
        return "\n".join(rows + [goal.row() for goal in self.lines])


def side_by_side(run):
    rows = ["| | " + " | ".join(heading for heading, _, _ in COLUMNS) + " |"]
    rows.append("|---" * (len(COLUMNS) + 1) + "|")
    for store in run.stores():
        values = [number(run.figure(workload, store, figure)) for _, workload, figure in COLUMNS]
        rows.append(f"| {store} | " + " | ".join(values) + " |")
    return "\n".join(rows)


def source(run):
    lines = [
        f"Medians of {run.repeats()}; {run.headers[-1]['machine']}; {run.headers[0]['date'][:10]}."
    ]
    lines += [f"`{header['run']}`" for header in run.headers]
    return "\n".join(dict.fromkeys(lines))


def replace_part(document, name, text):
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(document):
        sys.exit(f"the document has no marker {begin}")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", document)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--write", metavar="DOCUMENT")
    arguments = parser.parse_args()
    run = Run(arguments.run)
    parts = {"source": source(run), "goals": Goals(run).table(), "stores": side_by_side(run)}
    if arguments.write is None:
        print("\n\n".join(parts.values()))
        return
    with open(arguments.write, encoding="utf-8") as file:
        document = file.read()
    for name, text in parts.items():
        document = replace_part(document, name, text)
    with open(arguments.write, "w", encoding="utf-8") as file:
        file.write(document)


if __name__ == "__main__":
    main()
