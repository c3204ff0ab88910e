"""Goal: nothing is lost on any normal exit, and a store is nobody's who did not open it.

Method: exits of every kind in a process of their own, then what is found; garbage collection, fork,
pickling and signals in this one.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import threading
import time

import dskvs
import pytest

WRITE = """
import sys, dskvs
db = dskvs.open(sys.argv[1], sync_interval_ms=0)
for i in range(1000):
    db[f"a/{i}"] = bytes(1000)
"""


def check_written(path: str) -> None:
    with dskvs.open(path, "w") as db:
        assert dict(db) == {f"a/{i}": bytes(1000) for i in range(1000)}


# ---- Exits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError('on purpose')", 1),
        ("import signal; signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
        ("import threading; threading.Thread(target=lambda: db.put('a/0', bytes(1000))).start()", 0),
        ("import atexit; atexit.register(lambda: db.put('a/0', bytes(1000)))", 0),
        ("cycle = [db]; cycle.append(cycle); del db", 0),
    ],
)
def test_an_exit_without_close_loses_nothing(path, run_python, ending, status):
    result = run_python(WRITE + ending, path, status=status)
    assert "dskvs" not in result.stderr.replace("import sys, dskvs", "")
    check_written(path)


def test_with_closes_after_an_exception(path):
    with pytest.raises(RuntimeError):
        with dskvs.open(path) as db:
            db["a/1"] = b"one"
            raise RuntimeError("on purpose")
    assert db.closed
    with dskvs.open(path, "w") as db:
        assert db["a/1"] == b"one"


def test_a_long_flush_at_exit_is_logged(path, run_python):
    code = (
        WRITE
        + """
from dskvs import _lifetime
_lifetime._PATIENCE_S = 0.0
"""
    )
    result = run_python(code, path)
    assert "still writing" in result.stderr
    assert path in result.stderr
    check_written(path)


def test_a_disk_that_is_well_again_by_the_exit_loses_nothing(path, run_python):
    """The persister's next attempt is not due yet: sync() still raises, and close() makes one."""
    code = """
import resource, sys, time, dskvs
from dskvs import _lifetime
_lifetime.log_health = lambda *what: None
db = dskvs.open(sys.argv[1])
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
db["a/1"] = bytes(100)
while not db.stats().last_error:
    time.sleep(0.01)
time.sleep(0.8)      # attempts have become rare
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
"""
    result = run_python(code, path)
    assert result.stderr == ""
    with dskvs.open(path, "w") as db:
        assert db["a/1"] == bytes(100)


def test_a_failing_disk_at_exit_is_logged(path, run_python):
    code = """
import resource, sys, dskvs
db = dskvs.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
db["a/1"] = bytes(100)
"""
    result = run_python(code, path)
    assert "closing at exit" in result.stderr
    assert path in result.stderr


@pytest.mark.parametrize(
    "call",
    [
        "db.get_all('a')",
        "db.put('b/1', b''), db.sync()",
        "dskvs.verify(path)",
        "dskvs.verify(path, progress)",
        "dskvs.open(path, 'r', progress=progress).close()",
    ],
)
def test_daemon_threads_do_not_disturb_the_exit(path, run_python, call):
    """They are in the middle of a call, or of a callback, when the interpreter shuts down."""
    code = f"""
import sys, threading, time, dskvs
from dskvs import _lifetime
path = sys.argv[1]
db = dskvs.open(path)
_lifetime.dismiss(db)       # stays open, as one that is opened late in the exit
for i in range(8):
    db[f"a/{{i}}"] = bytes(1 << 20)
db.sync()
def progress(done, total):
    time.sleep(0)
def work():
    started.release()
    while True:
        {call}
started = threading.Semaphore(0)
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
    started.acquire()
"""
    for _ in range(5):
        run_python(code, path)


# ---- Garbage --------------------------------------------------------------------------------


def test_an_open_store_that_is_dropped_is_flushed_with_a_warning(path):
    db = dskvs.open(path, sync_interval_ms=0)
    db["a/1"] = b"one"
    with pytest.warns(ResourceWarning, match="unclosed <dskvs.Store"):
        del db
        gc.collect()
    with dskvs.open(path, "w") as db:
        assert db["a/1"] == b"one"


def test_an_open_store_that_is_dropped_is_closed_where_warnings_are_errors(path, run_python):
    code = """
import gc, sys, warnings, dskvs
warnings.simplefilter("error")
db = dskvs.open(sys.argv[1], sync_interval_ms=0)
db["a/1"] = b"one"
del db
gc.collect()
with dskvs.open(sys.argv[1], "w") as db:        # not locked any more
    assert db["a/1"] == b"one"
"""
    result = run_python(code, path)
    assert "ResourceWarning: unclosed <dskvs.Store" in result.stderr


def test_a_failing_close_is_logged_beside_the_warning(path, run_python):
    code = """
import gc, resource, sys, warnings, dskvs
warnings.simplefilter("error")
db = dskvs.open(sys.argv[1], sync_interval_ms=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
db["a/1"] = bytes(100)
del db
gc.collect()
"""
    result = run_python(code, path)
    assert "ResourceWarning: unclosed <dskvs.Store" in result.stderr
    assert f"{path}: closing: " in result.stderr


def test_a_closed_store_is_dropped_in_silence(path, recwarn):
    db = dskvs.open(path)
    db.close()
    del db
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


def test_a_collection_keeps_its_store(path):
    collection = dskvs.open(path).collection("a")
    gc.collect()
    collection["1"] = b"one"
    assert collection["1"] == b"one"
    collection.store.close()


def test_a_cycle_through_a_subclass_is_collected(path):
    class Catalogue(dskvs.Store):
        """Has a __dict__, and so can hold its own collections."""

    db = Catalogue(path)
    db.artists = db.collection("artist")
    db.artists["air"] = b"one"
    db.close()
    del db
    assert gc.collect() > 0
    with dskvs.open(path, "w") as db:
        assert db["artist/air"] == b"one"


def test_pickling_is_refused_with_advice(db):
    for thing in (db, db.collection("a")):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="open it in the worker"):
                attempt(thing)


# ---- Fork -----------------------------------------------------------------------------------


def in_child(work) -> None:
    """Runs work in a forked child; fails with what it printed when it raised."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            text = b""
        except BaseException as error:
            text = f"{type(error).__name__}: {error}".encode()
        os.write(write_end, text)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert (text, status) == (b"", 0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_everything(db, path):
    db["a/1"] = b"one"
    view = db.view("a/1")
    collection = db.collection("a")
    iterator = iter(collection)

    def child():
        for call in (
            lambda: db["a/1"],
            lambda: db.put("a/1", b"two"),
            lambda: db.delete("a/1"),
            lambda: len(db),
            lambda: list(db),
            lambda: db.get_all("a"),
            lambda: db.get_many(["a/1"]),
            lambda: collection["1"],
            lambda: collection.put("1", b"two"),
            db.mark,
            db.sync,
            db.stats,
            db.compact,
            lambda: db.backup(path + "-copy"),
            db.close,
        ):
            with pytest.raises(dskvs.ForkedError):
                call()
        with pytest.raises(dskvs.LockedError):
            dskvs.open(path)
        assert bytes(view) == b"one"
        assert list(iterator) == ["1"]
        with dskvs.open(path + "-mine") as mine:
            mine["a/1"] = b"child's"

    in_child(child)
    assert db["a/1"] == b"one"
    db["a/1"] = b"two"
    db.sync()
    with dskvs.open(path + "-mine", "r") as mine:
        assert mine["a/1"] == b"child's"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_exits_in_silence(path, run_python):
    code = (
        WRITE
        + """
import os
with db:
    if os.fork() == 0:
        sys.exit(0)      # leaves the with, runs atexit, drops the store
    os.wait()
    db["a/0"] = bytes(1000)
"""
    )
    result = run_python("import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n" + code, path)
    assert result.stderr == ""
    check_written(path)


# ---- Signals --------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


@pytest.fixture
def alarm():
    """alarm(seconds): then a signal handler raises Interrupted."""

    def handler(number, frame):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def big_path(path):
    """A store that takes a while to open."""
    with dskvs.open(path) as db:
        for number in range(64):
            db[f"a/{number}"] = bytes([number]) * (1 << 20)
    return path


def test_progress_of_open(big_path):
    calls = []
    with dskvs.open(big_path, progress=lambda done, total: calls.append((done, total))) as db:
        assert len(db) == 64
    assert calls
    assert all(0 <= done <= total for done, total in calls)
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1] > 64 << 20


def test_an_exception_of_progress_cancels_open_and_unlocks(big_path):
    error = RuntimeError("on purpose")

    def progress(done, total):
        raise error

    with pytest.raises(RuntimeError) as caught:
        dskvs.open(big_path, progress=progress)
    assert caught.value is error
    assert "progress" in [entry.name for entry in caught.traceback]
    with dskvs.open(big_path) as db:
        assert len(db) == 64


def test_ctrl_c_in_progress_cancels_open_and_unlocks(big_path):
    def progress(done, total):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        dskvs.open(big_path, progress=progress)
    dskvs.open(big_path).close()


def test_ctrl_c_cancels_open_and_unlocks(big_path, alarm):
    def opened_in_time():
        try:
            alarm(0.001)
            dskvs.open(big_path).close()
        except Interrupted:
            return False
        return True

    # One open in so many is under way when the signal comes, however the threads are scheduled.
    assert not all(opened_in_time() for _ in range(50))
    dskvs.open(big_path).close()


def test_close_waits_for_a_backup_that_ctrl_c_has_left_running(big_path, alarm):
    def left_running(copy):
        with dskvs.open(big_path) as db:
            try:
                alarm(0.001)
                db.backup(copy)
            except Interrupted:
                return db._unfinished != []
        return False

    copies = [f"{big_path}-{number}" for number in range(10)]
    finished = [copy for copy in copies if left_running(copy)]
    assert finished
    for copy in finished:
        with dskvs.open(copy, "r") as db:
            assert len(db) == 64


def in_thread(call):
    """Makes call in a thread; returns an event that is set when it has returned."""
    ended = threading.Event()
    threading.Thread(target=lambda: (call(), ended.set()), daemon=True).start()
    return ended


def test_close_while_another_thread_makes_a_long_call(path):
    db = dskvs.open(path)
    finish = threading.Event()

    def close():
        while not db._unfinished:
            time.sleep(0.001)
        threading.Timer(0.1, finish.set).start()
        db.close()

    closed = in_thread(close)
    db._interruptibly(finish.wait)
    assert closed.wait(60)
    assert db.closed


def test_close_waits_for_a_call_that_ctrl_c_has_met_at_its_start(path, monkeypatch):
    def interrupted_start(thread, start=threading.Thread.start):
        start(thread)
        raise Interrupted

    db = dskvs.open(path)
    finish = threading.Event()
    outcome = []

    def call():
        finish.wait()
        outcome.append(db.closed)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted_start)
        with pytest.raises(Interrupted):
            db._interruptibly(call)
    closed = in_thread(db.close)
    assert not closed.wait(0.1)
    finish.set()
    assert closed.wait(60)
    assert outcome == [False]


def test_close_does_not_wait_for_a_call_that_never_began(path, monkeypatch):
    def failing_start(thread):
        raise RuntimeError("can't start new thread")

    db = dskvs.open(path)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", failing_start)
        with pytest.raises(RuntimeError):
            db.compact()
    closed = in_thread(db.close)
    assert closed.wait(60)


def salvage(path, progress):
    return dskvs.salvage(path, f"{path}-{time.monotonic_ns()}", progress)


@pytest.mark.parametrize("call", [dskvs.verify, salvage])
def test_progress_and_cancelling_of_verify_and_salvage(big_path, call):
    calls = []
    assert call(big_path, lambda done, total: calls.append((done, total))) == []
    assert calls and all(0 <= done <= total for done, total in calls)

    def progress(done, total):
        raise Interrupted

    with pytest.raises(Interrupted):
        call(big_path, progress)


def test_progress_must_be_callable(path):
    with pytest.raises(TypeError, match="callable"):
        dskvs.open(path, progress=5)
    assert not os.path.exists(path)
    dskvs.open(path).close()
    with pytest.raises(TypeError, match="callable"):
        dskvs.verify(path, 5)


def fill_backlog(db: dskvs.Store, mib: int) -> None:
    value = bytes(1 << 20)
    for number in range(mib):
        db[f"a/{number}"] = value


@pytest.mark.parametrize("call", [dskvs.Store.close, dskvs.Store.sync, dskvs.Store.compact])
def test_ctrl_c_in_a_long_wait(path, alarm, call):
    """The store stays open and whole. More data, until the wait is long enough to be interrupted."""
    db = dskvs.open(path, dirty_bytes_max=1 << 32)
    for mib in (100, 200, 400, 800):
        fill_backlog(db, mib)
        alarm(0.005)
        try:
            call(db)
        except Interrupted:
            break
        db = dskvs.open(path, dirty_bytes_max=1 << 32) if db.closed else db
    else:
        pytest.fail("was never interrupted")
    assert not db.closed
    db["a/after"] = b"still open"
    assert len(db) == mib + 1
    db.close()
    with dskvs.open(path, "w") as db:
        assert len(db) == mib + 1


def test_signals_are_seen_within_a_slice(path, alarm):
    """A wait that cannot end: nothing is dirty, so a mark of the future would be an error; a sync of
    a big backlog then, in which the handler must run soon."""
    seen = []
    db = dskvs.open(path, dirty_bytes_max=1 << 32)
    fill_backlog(db, 300)
    started = time.monotonic()
    signal.signal(signal.SIGALRM, lambda number, frame: seen.append(time.monotonic() - started))
    alarm(0.005)
    db.sync()
    took = time.monotonic() - started
    db.close()
    assert seen == [] or seen[0] < max(0.15, took / 2)
    assert seen or took < 0.06
