#!/usr/bin/env python3
"""Draws the pictures of docs/performance.md from a benchmark run; needs matplotlib.

usage: plot.py RUN.jsonl [--pictures docs/pictures]
"""

import argparse
import os

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

from run_file import Run

# Text stays text and identifiers stay the same, so that a picture changes only with its figures.
plt.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "dskvs",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)

COLOURS = {
    "dskvs": "#c1121f",
    "kyoto": "#1d6fa5",
    "tkrzw": "#4aa3c7",
    "lmdb": "#2a7f3f",
    "rocksdb": "#8a5a9e",
    "leveldb": "#b58bc4",
    "sqlite": "#a8763e",
    "redis": "#e08a1e",
    "tbb": "#555555",
    "libcuckoo": "#999999",
    "null": "#cccccc",
}
SHOWN = ["dskvs", "kyoto", "lmdb", "rocksdb", "tbb"]
POINTS_MAX = 120


def style(store):
    return {"label": store, "color": COLOURS[store], "linewidth": 2 if store == "dskvs" else 1.2}


def thinned(points):
    """About POINTS_MAX of them, the first and the last among them."""
    step = max(1, len(points) // POINTS_MAX)
    return points[::step] + points[-1:]


def draw_latency(run):
    """The share of calls that took longer than a time: the further down, the rarer."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True)
    for axis, call in zip(axes, ("put_rewrite", "get_copied", "delete")):
        for store in SHOWN:
            points = thinned(run.series("W1-latency", store, f"{call}.cdf"))
            slower = [(x, 1 - share) for x, share in points if share < 1]
            if slower:
                axis.plot([x for x, _ in slower], [y for _, y in slower], **style(store))
        axis.set(xscale="log", yscale="log", xlabel="ns", title=call.replace("_", " "))
    axes[0].set_ylabel("share of calls that take longer")
    return figure


def draw_throughput(run):
    """Reads by threads, and reads and puts by the size of the value."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3))
    lines = [
        (axes[0], "W2", "get_uniform/{}.rate", (1, 2, 10), "get, by threads"),
        (
            axes[1],
            "sizes",
            "get_copied/{}.rate",
            (10, 100, 1000, 10**4, 10**5, 10**6),
            "get, by bytes",
        ),
        (
            axes[2],
            "sizes",
            "put_rewrite/{}.rate",
            (10, 100, 1000, 10**4, 10**5, 10**6),
            "put, by bytes",
        ),
    ]
    for axis, workload, name, places, title in lines:
        for store in SHOWN:
            points = [(x, run.figure(workload, store, name.format(x))) for x in places]
            points = [(x, y) for x, y in points if y is not None]
            if points:
                axis.plot(
                    [x for x, _ in points], [y for _, y in points], marker=".", **style(store)
                )
        axis.set(xscale="log", yscale="log", title=title)
    axes[0].set_xticks([1, 2, 10], ["1", "2", "10"])
    axes[0].minorticks_off()
    axes[0].set_ylabel("operations per second")
    return figure


def draw_growth(run):
    """The tail of put while one collection grows, the machine's own noise beside it."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True)
    for axis, quantile in zip(axes, ("p50", "p99.99", "max")):
        for store in ["null", *SHOWN]:
            points = run.series("W8", store, f"{quantile}_ns")
            if points:
                axis.plot([x / 1e6 for x, _ in points], [y for _, y in points], **style(store))
        axis.set(yscale="log", xlabel="million entries", title=f"put, {quantile}")
    axes[0].set_ylabel("ns")
    return figure


def draw_lag(run):
    """How long puts of a steady stream wait to be written and to be durable."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True)
    for axis, rate in zip(axes, (1000, 10_000, 100_000)):
        for level, colour in (("durable", "#1d6fa5"), ("written", "#c1121f")):
            points = run.series("W9", "dskvs", f"{rate}_per_s.{level}_us")
            if points:
                x, y = [x for x, _ in points], [y / 1000 for _, y in points]
                axis.plot(x, y, label=level, color=colour, linewidth=1)
        axis.set(yscale="log", xlabel="seconds", title=f"{rate:,} puts a second")
    axes[0].set_ylabel("lag, ms")
    return figure


def draw_memory(run):
    """Memory and live bytes while values change their sizes."""
    figure, axis = plt.subplots(figsize=(6, 3))
    for store in SHOWN:
        points = thinned(run.series("fragmentation", store, "resident_bytes"))
        if points:
            axis.plot([x for x, _ in points], [y / 2**20 for _, y in points], **style(store))
    live = thinned(run.series("fragmentation", "dskvs", "live_bytes"))
    if live:
        x, y = [x for x, _ in live], [y / 2**20 for _, y in live]
        axis.plot(x, y, label="keys and values", color="black", linestyle=":")
    axis.set(xlabel="seconds", ylabel="MiB", ylim=(0, None))
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--pictures", default="docs/pictures")
    arguments = parser.parse_args()
    run = Run(arguments.run)
    for name, draw in {
        "latency": draw_latency,
        "throughput": draw_throughput,
        "growth": draw_growth,
        "lag": draw_lag,
        "memory": draw_memory,
    }.items():
        figure = draw(run)
        lines = {line.get_label(): line for axis in figure.axes for line in axis.get_lines()}
        if not lines:
            print(f"{name}: the run has no figures for it")
            continue
        figure.legend(lines.values(), lines, loc="outside lower center", ncols=len(lines))
        path = os.path.join(arguments.pictures, f"{name}.svg")
        figure.savefig(path, metadata={"Date": None})
        print(f"{path}: {os.path.getsize(path) // 1024} kB")


if __name__ == "__main__":
    main()
