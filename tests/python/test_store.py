"""Goal: what a store can do beyond a mapping: flags, collections, views, conditional writes, the disk.

Method: each call once for what it promises and once for what it refuses.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import sys
import threading
from pathlib import Path

import dskvs
import pytest


# ---- Flags and options ----------------------------------------------------------------------


def test_flag_c_creates_and_reopens(path):
    with dskvs.open(path) as db:
        db["a/1"] = b"one"
    with dskvs.open(path, "c") as db:
        assert dict(db) == {"a/1": b"one"}


@pytest.mark.parametrize("flag", ["r", "w"])
def test_flags_r_and_w_need_a_store(path, flag):
    with pytest.raises(dskvs.PathError) as error:
        dskvs.open(path, flag)
    assert error.value.errno == 2
    assert not os.path.exists(path)


def test_flag_w_writes(path):
    dskvs.open(path).close()
    with dskvs.open(path, "w") as db:
        db["a/1"] = b"one"
    with dskvs.open(path, "w") as db:
        assert db["a/1"] == b"one"


def test_flag_r_reads_beside_a_writer_and_refuses_writes(path):
    with dskvs.open(path) as db:
        db["a/1"] = b"one"
        db.sync()
        with dskvs.open(path, "r") as reader, dskvs.open(path, "r") as another:
            assert dict(reader) == dict(another) == {"a/1": b"one"}
            view = reader.view("a/1")
            for write in (
                lambda: reader.put("a/1", b"two"),
                lambda: reader.__setitem__("a/2", b"two"),
                lambda: reader.delete("a/1"),
                lambda: reader.__delitem__("a/1"),
                lambda: reader.pop("a/1"),
                lambda: reader.setdefault("a/2", b"two"),
                lambda: reader.put_if("a/1", b"two", view),
                lambda: reader.delete_if("a/1", view),
                lambda: reader.delete_all("a"),
                reader.clear,
                reader.compact,
            ):
                with pytest.raises(dskvs.ReadOnlyError):
                    write()
            assert dict(reader) == {"a/1": b"one"}


def test_a_reader_calls_durable_what_the_log_does_and_never_waits(path):
    with dskvs.open(path, sync_interval_ms=0) as db:
        db["a/1"] = b"one"
        db.wait(db.mark(), dskvs.WRITTEN)
        with dskvs.open(path, "r") as reader:
            mark = reader.mark()
            reader.wait(mark, dskvs.WRITTEN)
            for wait in (
                reader.sync,
                lambda: reader.wait(mark),
                lambda: asyncio.run(reader.sync_async()),
                lambda: asyncio.run(reader.wait_async(mark)),
            ):
                with pytest.raises(dskvs.WaitTimeout):
                    wait()
    with dskvs.open(path, "r") as reader:
        reader.sync()
        reader.wait(reader.mark())
        asyncio.run(reader.sync_async())


def test_flag_n_empties(path):
    with dskvs.open(path, "n") as db:
        db.update({"a/1": b"one", "b/1": b"two"})
    with dskvs.open(path, "n") as db:
        assert dict(db) == {}
        db["c/1"] = b"three"
    with dskvs.open(path) as db:
        assert dict(db) == {"c/1": b"three"}


@pytest.mark.parametrize("flag", ["", "x", "rw", "R", None])
def test_other_flags_are_refused(path, flag):
    with pytest.raises(ValueError):
        dskvs.open(path, flag)
    assert not os.path.exists(path)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_kinds_of_path(path, kind):
    with dskvs.open(kind(path)) as db:
        assert db.path == path
        db.backup(kind(path + "-copy"))
    assert dskvs.verify(kind(path)) == []
    assert dskvs.salvage(kind(path), kind(path + "-rescued")) == []
    with dskvs.open(path + "-rescued", "r") as rescued:
        assert rescued == {}


def test_a_path_that_is_no_text(tmp_path):
    raw = os.fsencode(tmp_path) + b"/\xff"
    with dskvs.open(raw) as db:
        assert os.fsencode(db.path) == raw
        with pytest.raises(dskvs.LockedError) as error:
            dskvs.open(raw)
        assert os.fsencode(error.value.filename) == raw


@pytest.mark.parametrize("bad", [None, 5, b"a\0b", "a\0b"])
def test_no_path(bad):
    with pytest.raises((TypeError, ValueError)):
        dskvs.open(bad)


@pytest.mark.parametrize("name", ["sync_interval_ms", "memory_bytes_max", "dirty_bytes_max"])
def test_options_that_are_no_counts(path, name):
    for bad, error in ((-1, ValueError), (1 << 64, ValueError), ("5", TypeError), (1.5, TypeError)):
        with pytest.raises(error):
            dskvs.open(path, **{name: bad})
    dskvs.open(path, **{name: None}).close()


def test_options_out_of_bounds(path):
    with pytest.raises(dskvs.InvalidArgumentError):
        dskvs.open(path, sync_interval_ms=86_400_001)
    with pytest.raises(dskvs.InvalidArgumentError):
        dskvs.open(path, dirty_bytes_max=65_535)


def test_memory_bytes_max(path):
    with dskvs.open(path, memory_bytes_max=1 << 20) as db:
        with pytest.raises(dskvs.FullError):
            for number in range(2000):
                db[f"a/{number}"] = bytes(1000)
        held = len(db)
        assert 100 < held < 2000
        assert all(db[key] == bytes(1000) for key in db)
        db.delete_all("a")
        db["a/1"] = bytes(1000)


# ---- Collections ----------------------------------------------------------------------------


def test_get_all_and_delete_all(db):
    db.update({"artist/daft_punk": b"1", "artist/air": b"2", "label/ed": b"3"})
    assert db.get_all("artist") == {"daft_punk": b"1", "air": b"2"}
    assert db.get_all(b"artist") == db.get_all("artist")
    assert db.get_all("unknown") == {}
    assert db.delete_all("unknown") == 0
    assert db.delete_all("artist") == 2
    assert db.get_all("artist") == {}
    assert dict(db) == {"label/ed": b"3"}


def test_collections_and_count(db):
    assert db.collections() == {}
    db.update({"a/1": b"", "a/2": b"", "b/1": b""})
    assert db.collections() == {"a": 2, "b": 1}
    assert db.count() == len(db) == 3
    assert db.count("a") == db.count(collection=b"a") == 2
    assert db.count("unknown") == 0
    del db["b/1"]
    assert db.collections() == {"a": 2}


@pytest.mark.parametrize("name", ["", "a/b", "/", "a/", "x" * 65536])
def test_what_is_no_collection_name(db, name):
    for call in (db.collection, db.get_all, db.delete_all, db.count):
        with pytest.raises(dskvs.InvalidKeyError):
            call(name)


# ---- Views and conditional writes -----------------------------------------------------------


def test_a_view_is_read_only_and_stays_as_it_was(path):
    db = dskvs.open(path)
    db["a/1"] = bytes(range(256)) * 100
    view = db.view("a/1")
    assert view.readonly and view.contiguous and view.format == "B"
    with pytest.raises(TypeError):
        view[0] = 1
    db["a/1"] = b"overwritten"
    part = view[256:512]
    db.delete_all("a")
    db.close()
    assert bytes(view) == bytes(range(256)) * 100
    view.release()
    assert bytes(part) == bytes(range(256))


def test_view_of_nothing(db):
    assert db.view("a/1") is None
    assert db.view("a/1", 5) == 5


def test_put_if(db):
    db.put_if("a/1", b"one", None)
    with pytest.raises(dskvs.ConflictError):
        db.put_if("a/1", b"two", None)
    held = db.view("a/1")
    db.put_if("a/1", b"two", held)
    assert db["a/1"] == b"two"
    with pytest.raises(dskvs.ConflictError):
        db.put_if("a/1", b"three", held)
    db["a/1"] = b"one"  # equal bytes, another entry
    with pytest.raises(dskvs.ConflictError):
        db.put_if("a/1", b"three", held)
    assert db["a/1"] == b"one"
    collection = db.collection("a")
    collection.put_if("1", b"four", collection.view("1")[:0])  # a part stands for the whole
    assert db["a/1"] == b"four"


def address(view):
    class Buffer(ctypes.Structure):
        _fields_ = [("bytes", ctypes.c_void_p), ("rest", ctypes.c_char * 256)]  # a Py_buffer is shorter

    buffer = Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return buffer.bytes


def test_put_if_does_not_take_another_entry_for_one_that_lay_there_before(path):
    """While put_if() copies a big value, another thread releases what is held, and overwrites the key
    until an entry comes to lie where the held one did."""
    interval = sys.getswitchinterval()
    copying = threading.Event()

    def overwrite():
        copying.wait()
        held.release()
        for _ in range(1000):
            db["a/1"] = bytes(1000)
            if address(db.view("a/1")) == held_address:
                break

    with dskvs.open(path, sync_interval_ms=0) as db:
        db["a/1"] = bytes(1000)
        db.sync()
        big = bytes(64 << 20)
        held = db.view("a/1")
        held_address = address(held)
        thread = threading.Thread(target=overwrite)
        thread.start()
        sys.setswitchinterval(1000)  # the thread runs when put_if() gives the GIL up, not before
        try:
            copying.set()
            with pytest.raises(dskvs.ConflictError):
                db.put_if("a/1", big, held)
        finally:
            sys.setswitchinterval(interval)
        thread.join()
        assert db["a/1"] == bytes(1000)


def test_delete_if(db):
    assert db.delete_if("a/1", None) is False
    db["a/1"] = b"one"
    held = db.view("a/1")
    with pytest.raises(dskvs.ConflictError):
        db.delete_if("a/1", None)
    db["a/1"] = b"two"
    with pytest.raises(dskvs.ConflictError):
        db.delete_if("a/1", held)
    assert db.delete_if("a/1", db.view("a/1")) is True
    with pytest.raises(dskvs.ConflictError):
        db.delete_if("a/1", held)
    assert "a/1" not in db


def test_what_cannot_be_held(db):
    db["a/1"] = b"one"
    released = db.view("a/1")
    released.release()
    for held in (b"one", memoryview(b"one"), 0, "one"):
        with pytest.raises(TypeError, match="what view"):
            db.put_if("a/1", b"two", held)
        with pytest.raises(TypeError, match="what view"):
            db.delete_if("a/1", held)
    with pytest.raises(ValueError):
        db.put_if("a/1", b"two", released)
    assert db["a/1"] == b"one"


def test_counters_by_put_if_lose_nothing(db):
    def count(times):
        for _ in range(times):
            while True:
                held = db.view("counter/n")
                number = int(bytes(held)) if held is not None else 0
                try:
                    db.put_if("counter/n", str(number + 1).encode(), held)
                    break
                except dskvs.ConflictError:
                    pass

    threads = [threading.Thread(target=count, args=(2000,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db["counter/n"] == b"8000"


# ---- The disk -------------------------------------------------------------------------------


def test_mark_wait_sync(db):
    before = db.mark()
    db["a/1"] = b"one"
    mark = db.mark()
    assert mark >= before
    assert db.wait(mark, dskvs.WRITTEN) is None
    assert db.wait(mark, level=dskvs.DURABLE, timeout=10) is None
    assert db.wait(mark=mark, timeout=0) is None
    assert db.sync() is None
    assert db.sync(timeout=10.5) is None
    stats = db.stats()
    assert stats.durable_epoch >= mark
    assert stats.written_epoch >= stats.durable_epoch


def test_bad_waits(db):
    with pytest.raises(dskvs.InvalidArgumentError):
        db.wait(db.mark() + 1000)
    with pytest.raises(dskvs.InvalidArgumentError):
        db.wait(db.mark(), 3)
    for timeout in (-1, -0.001, float("nan")):
        with pytest.raises(ValueError):
            db.wait(db.mark(), timeout=timeout)
        with pytest.raises(ValueError):
            db.sync(timeout)
    for bad in ("1", None, 1.5):
        with pytest.raises(TypeError):
            db.wait(bad)
    with pytest.raises(TypeError):
        db.sync("1")
    db.sync(float("inf"))


def test_stats(db):
    db.update({"a/1": b"one", "a/2": b"two", "b/1": b"three"})
    db.sync()
    stats = db.stats()
    assert (stats.collections, stats.entries) == (2, 3)
    assert (stats.key_bytes, stats.value_bytes) == (9, 11)
    assert stats.memory_bytes > 0
    assert stats.disk_bytes > 0
    assert stats.dirty_bytes == 0
    assert stats.last_error == 0
    assert "entries=3" in repr(stats)
    with pytest.raises(AttributeError):
        stats.entries = 5


def test_backup(db, path):
    db["a/1"] = b"one"
    db.backup(path + "-copy")
    db["a/1"] = b"two"
    with dskvs.open(path + "-copy", "r") as copy:
        assert dict(copy) == {"a/1": b"one"}
    with pytest.raises(dskvs.PathError) as error:
        db.backup(path + "-copy")
    assert error.value.filename == path + "-copy"
    with pytest.raises(TypeError):
        db.backup(5)


def test_backup_and_compact_from_a_thread(db, path):
    db["a/1"] = b"one"
    failures = []

    def work():
        try:
            db.compact()
            db.backup(path + "-copy")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
    with dskvs.open(path + "-copy", "r") as copy:
        assert dict(copy) == {"a/1": b"one"}


def test_compact(db):
    for _ in range(20):
        db["a/1"] = bytes(100_000)
        db.sync()
    before = db.stats().disk_bytes
    db.compact()
    assert db.stats().disk_bytes <= before
    assert db["a/1"] == bytes(100_000)


def test_verify_finds_the_store_wherever_the_working_directory_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with dskvs.open("store") as db:
        db["a/1"] = b"one"
        db.sync()
        monkeypatch.chdir("/")
        assert db.verify() == []
        assert db.path == "store"


@pytest.mark.parametrize("path_type", [str, os.fsencode])
def test_what_is_no_store_is_named_as_it_was_given(tmp_path, path_type):
    missing = str(tmp_path / "missing")
    for call in (dskvs.verify, lambda path: dskvs.salvage(path, missing + "-target")):
        with pytest.raises(dskvs.PathError) as error:
            call(path_type(missing))
        assert error.value.filename == missing
        assert error.value.errno == errno.ENOENT


def test_verify_and_salvage(path):
    with dskvs.open(path) as db:
        db.update({f"a/{i}": bytes([i]) * 1000 for i in range(100)})
        db.sync()
        assert db.verify() == []
    assert dskvs.verify(path) == []
    segment = max(Path(path).glob("*.dskvs"), key=lambda file: file.stat().st_size)
    data = bytearray(segment.read_bytes())
    data[data.index(bytes([7]) * 1000) + 500] ^= 1
    segment.write_bytes(data)
    damage = dskvs.verify(path)
    assert damage
    assert damage[0][0] == segment.name
    assert "offset" in damage[0][1]
    with pytest.raises(dskvs.CorruptError) as error:
        dskvs.open(path)
    assert segment.name in str(error.value)
    assert dskvs.salvage(path, path + "-rescued") == damage
    with dskvs.open(path + "-rescued") as db:
        for key, value in db.items():
            assert value == bytes([int(key[2:])]) * 1000


def test_repr(db):
    assert repr(db) == f"<dskvs.Store {db.path!r}>"
    assert repr(db.collection("a")) == f"<dskvs.Collection 'a' of {db!r}>"
    db.close()
    assert repr(db) == f"<dskvs.Store {db.path!r} closed>"
