"""Goal: any number of threads may use a store; none stands still while another waits for the disk.

Method: threads that put, get, delete and iterate at once over keys whose values tell their age; a
ticking thread beside calls that wait; a backlog limit that is met; a disk that fails and recovers.
"""

from __future__ import annotations

import random
import threading
import time

import dskvs
import pytest


def run_threads(*works) -> None:
    """Runs all of them at once; raises what the first of them raised."""
    failures: list[BaseException] = []

    def guarded(work):
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_readers_never_see_time_go_back(db, seed):
    """One writer a key, counting up; readers see counts that only grow, in every kind of read."""
    keys = [f"c{i % 3}/{i}" for i in range(6)]
    done = threading.Event()

    def writer(key):
        def work():
            for count in range(3000):
                db[key] = str(count).encode() + bytes(count % 5 * 500)

        return work

    def number(value) -> int:
        return int(bytes(value).rstrip(b"\0") or b"-1")

    def reader(number_of):
        def work():
            source = random.Random(seed + number_of)
            newest = dict.fromkeys(keys, -1)
            while not done.is_set():
                how = source.randrange(5)
                key = source.choice(keys)
                if how == 0:
                    found = {key: db.get(key, b"-1")}
                elif how == 1:
                    found = {key: db.view(key, b"-1")}
                elif how == 2:
                    found = db.get_many(keys)
                elif how == 3:
                    found = dict(db.items())
                else:
                    name = key.partition("/")[0]
                    found = {f"{name}/{k}": v for k, v in db.get_all(name).items()}
                for found_key, value in found.items():
                    assert number(value) >= newest[found_key]
                    newest[found_key] = number(value)

        return work

    def writers():
        try:
            run_threads(*(writer(key) for key in keys))
        finally:
            done.set()

    run_threads(writers, reader(1), reader(2))
    assert {number(value) for value in db.values()} == {2999}


def test_each_item_is_popped_once(db):
    db.update({f"a/{i}": str(i).encode() for i in range(2000)})
    popped: list[bytes] = []

    def work():
        for i in range(2000):
            value = db.pop(f"a/{i}", None)
            if value is not None:
                popped.append(value)

    run_threads(work, work, work)
    assert sorted(popped, key=int) == [str(i).encode() for i in range(2000)]
    assert len(db) == 0


def test_setdefault_has_one_winner(db):
    winners: dict[int, set[bytes]] = {i: set() for i in range(1000)}

    def contender(name):
        def work():
            for i in range(1000):
                winners[i].add(db.setdefault(f"a/{i}", name))

        return work

    run_threads(contender(b"x"), contender(b"y"), contender(b"z"))
    assert all(len(names) == 1 for names in winners.values())


def test_one_iterator_shared_by_threads(db):
    db.update({f"a/{i}": bytes(10) for i in range(5000)})
    iterator = iter(db.collection("a"))
    found: list[str] = []
    run_threads(*([lambda: found.extend(iterator)] * 4))
    assert sorted(found) == sorted(str(i) for i in range(5000))


def test_close_races_everything(path):
    for _ in range(30):
        db = dskvs.open(path)
        db["a/0"] = b"zero"
        started = threading.Barrier(4)

        def use(call):
            def work():
                started.wait()
                try:
                    while True:
                        call()
                except dskvs.ClosedError:
                    pass

            return work

        def close():
            started.wait()
            time.sleep(0.001)
            db.close()

        run_threads(
            use(lambda: db.put("a/1", bytes(100_000))),
            use(lambda: (db.get_all("a"), db.get("a/1"))),
            use(lambda: (db.sync(), db.stats())),
            close,
        )
        assert db.closed


class Ticker:
    """A thread that counts: it can only while nobody keeps the GIL."""

    def __enter__(self):
        self.gaps = [0.0]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick)
        self._thread.start()
        return self

    def _tick(self):
        before = time.monotonic()
        while not self._done.is_set():
            time.sleep(0.001)
            now = time.monotonic()
            self.gaps.append(now - before)
            before = now

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def test_others_run_while_one_waits_for_the_disk(path):
    db = dskvs.open(path, dirty_bytes_max=1 << 32)
    value = bytes(1 << 20)
    for number in range(300):
        db[f"a/{number}"] = value
    started = time.monotonic()
    with Ticker() as ticker:
        db.sync()
        db.close()
    took = time.monotonic() - started
    # One long gap would be as long as it all took.
    assert max(ticker.gaps) < max(0.25, took / 2)
    assert len(ticker.gaps) > 2


def test_a_backlog_at_its_limit_slows_puts_and_nothing_else(path):
    with dskvs.open(path, dirty_bytes_max=65_536) as db:

        def writer(name, size):
            def work():
                for number in range(300):
                    db[f"{name}/{number}"] = bytes(size)

            return work

        with Ticker() as ticker:
            run_threads(writer("a", 10_000), writer("b", 100), writer("c", 200_000))
        assert max(ticker.gaps) < 1
        assert db.collections() == {"a": 300, "b": 300, "c": 300}
        db.sync()
    with dskvs.open(path, "w") as db:
        assert db.collections() == {"a": 300, "b": 300, "c": 300}


def test_a_value_above_the_limit_is_not_kept_waiting_by_small_ones(path):
    with dskvs.open(path, dirty_bytes_max=65_536) as db:
        done = threading.Event()

        def write_small():
            while not done.is_set():
                db["a/small"] = bytes(1000)

        small = [threading.Thread(target=write_small) for _ in range(2)]
        big = threading.Thread(target=lambda: db.update({f"a/{n}": bytes(200_000) for n in range(100)}))
        for thread in [*small, big]:
            thread.start()
        big.join(20)
        kept_waiting = big.is_alive()
        done.set()
        for thread in [*small, big]:
            thread.join()
        assert not kept_waiting


def test_a_failing_disk_is_reported_and_survived(path, run_python):
    """The process limits its own file size, so that nothing more can be written, and lifts it again."""
    code = """
import logging, resource, sys, time, dskvs
logging.basicConfig(stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
db = dskvs.open(sys.argv[1], dirty_bytes_max=1 << 20)
db["a/before"] = b"before"
db.sync()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
db["a/1"] = b"one"
try:
    db.sync()
except dskvs.StorageError as error:
    assert error.errno and error.filename == sys.argv[1], error
else:
    raise AssertionError("sync of a failing disk")
try:
    db.wait(db.mark())
except dskvs.StorageError:
    pass
else:
    raise AssertionError("wait for a failing disk")
assert db.stats().last_error < 0
assert db["a/1"] == b"one" and db["a/before"] == b"before"
try:
    for number in range(10_000):
        db[f"b/{number}"] = bytes(1000)
except dskvs.StorageError:
    assert 100 < db.count("b") < 10_000
else:
    raise AssertionError("the backlog has no limit")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
deadline = time.monotonic() + 30
while True:
    try:
        db.sync()
        break
    except dskvs.StorageError:
        assert time.monotonic() < deadline
assert db.stats().last_error == 0
held = len(db)
db.close()
with dskvs.open(sys.argv[1], "w") as db:
    assert len(db) == held
print("done")
"""
    lines = run_python(code, path).stdout.splitlines()
    assert lines[-1] == "done"
    errors = [line for line in lines if line.startswith("dskvs ERROR")]
    assert errors and path in errors[0] and "cannot be written" in errors[0]
    assert any(line.startswith("dskvs WARNING") and "written again" in line for line in lines)


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_value_that_changes_meanwhile_is_some_mixture(db, size):
    """A bytearray that another thread writes to while it is put: memory-safe, and of the right size."""
    value = bytearray(size)
    done = threading.Event()

    def change():
        while not done.is_set():
            value[:] = b"x" * size

    def put():
        try:
            for _ in range(200):
                db["a/1"] = value
                found = db["a/1"]
                assert len(found) == size and set(found) <= {0, ord("x")}
        finally:
            done.set()

    run_threads(change, put)
