"""Reads what `dskvs_bench run --out FILE` wrote."""

import json
import statistics


class Run:
    """The cells of one file; repeats of a cell become medians."""

    def __init__(self, path):
        self.headers = []
        self._figures = {}
        self._series = {}
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                if "run" in record:
                    self.headers.append(record)
                elif record["ok"]:
                    self._add(record)

    def _add(self, record):
        cell = (record["workload"], record["store"])
        for name, value in record["figures"].items():
            self._figures.setdefault((*cell, name), []).append(value)
        for name, points in record["series"].items():
            self._series.setdefault((*cell, name), []).append(points)

    def figure(self, workload, store, name):
        """The median over the repeats; None when it was not measured."""
        values = self._figures.get((workload, store, name))
        return None if values is None else statistics.median(values)

    def series(self, workload, store, name):
        """The points of the first repeat; [] when there are none."""
        return self._series.get((workload, store, name), [[]])[0]

    def repeats(self):
        return max((len(values) for values in self._figures.values()), default=0)

    def stores(self):
        """All stores of the file, in the order of the run."""
        return list(dict.fromkeys(store for header in self.headers for store in header["stores"]))
