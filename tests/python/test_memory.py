"""Goal: no call leaks a reference or a byte, neither when it succeeds nor when it fails.

Method: each operation some ten thousand times, after a warm-up; resident memory may not grow by more
than a small fraction of what leaking one object a call would cost, and nobody's reference count may.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys

import dskvs
import pytest

ROUNDS = 20_000


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def failing(call):
    def attempt(db):
        with contextlib.suppress(Exception):
            call(db)

    return attempt


OPERATIONS = {
    "get": lambda db: db["a/1"],
    "get default": lambda db: db.get("a/none", DEFAULT),
    "get large": lambda db: db.get("a/large"),
    "contains": lambda db: "a/1" in db,
    "put": lambda db: db.put("a/2", VALUE),
    "put buffer": lambda db: db.put("a/2", BUFFER),
    "put and delete": lambda db: (db.put("a/3", VALUE), db.delete("a/3")),
    "pop": lambda db: (db.put("a/3", VALUE), db.pop("a/3")),
    "pop default": lambda db: db.pop("a/none", DEFAULT),
    "setdefault": lambda db: db.setdefault("a/1", VALUE),
    "view": lambda db: db.view("a/1")[1:],
    "view default": lambda db: db.view("a/none", DEFAULT),
    "put_if": lambda db: db.put_if("a/1", VALUE, db.view("a/1")),
    "escaped key": lambda db: db.get("a/\udcff"),
    "get_all": lambda db: db.get_all("a"),
    "get_many": lambda db: db.get_many(["a/1", "a/2", "a/none"]),
    "collections": lambda db: db.collections(),
    "iteration": lambda db: list(db.items()),
    "an iterator given up": lambda db: next(iter(db.values())),
    "collection": lambda db: db.collection("a").get("1"),
    "stats": lambda db: db.stats(),
    "missing": failing(lambda db: db["a/none"]),
    "invalid": failing(lambda db: db["none"]),
    "invalid in get_many": failing(lambda db: db.get_many(["a/1", "none"])),
    "conflict": failing(lambda db: db.put_if("a/1", VALUE, None)),
    "bad value": failing(lambda db: db.put("a/1", 5)),
    "bad name": failing(lambda db: db.collection("a/b")),
    "bad path": failing(lambda db: dskvs.open("/proc/none/such")),
    "locked": failing(lambda db: dskvs.open(db.path)),
}
DEFAULT = object()
VALUE = os.urandom(500)
BUFFER = bytearray(VALUE)


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_leaks(db, name):
    operation = OPERATIONS[name]
    db["a/1"] = VALUE
    db["a/large"] = bytes(5000)
    for _ in range(ROUNDS // 4):
        operation(db)
    db.sync()
    gc.collect()
    watched = (DEFAULT, VALUE, BUFFER, dskvs.Store, dskvs.Collection, db)
    counts = [sys.getrefcount(thing) for thing in watched]
    before = resident_bytes()
    for _ in range(ROUNDS):
        operation(db)
    db.sync()
    gc.collect()
    assert [sys.getrefcount(thing) for thing in watched] == counts
    assert resident_bytes() - before < ROUNDS * 60 + (1 << 20)


def test_open_and_close_leak_nothing(path):
    def once():
        with dskvs.open(path) as db:
            db["a/1"] = VALUE

    for _ in range(20):
        once()
    before = resident_bytes()
    for _ in range(100):
        once()
    assert resident_bytes() - before < 8 << 20
