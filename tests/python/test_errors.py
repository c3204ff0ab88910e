"""Goal: every failure is the exception that the table below says, with code, errno and filename.

Method: the table of classes; each one provoked, as far as a test can; then what a closed store says
to every call.
"""

from __future__ import annotations

import errno
import os

import dskvs
import pytest

BASES = {
    "InvalidArgumentError": (dskvs.Error, ValueError),
    "InvalidKeyError": (dskvs.Error, ValueError),
    "ClosedError": (dskvs.Error, ValueError),
    "ForkedError": (dskvs.Error, RuntimeError),
    "ReadOnlyError": (dskvs.Error,),
    "ConflictError": (dskvs.Error,),
    "FullError": (dskvs.Error,),
    "OutOfMemoryError": (dskvs.Error, MemoryError),
    "WaitTimeout": (dskvs.Error, TimeoutError),
    "StorageError": (dskvs.Error, OSError),
    "PathError": (dskvs.StorageError,),
    "LockedError": (dskvs.StorageError, BlockingIOError),
    "CorruptError": (dskvs.StorageError,),
    "VersionError": (dskvs.StorageError,),
}


def test_the_hierarchy():
    exported = {
        name: value
        for name, value in vars(dskvs).items()
        if isinstance(value, type) and issubclass(value, dskvs.Error) and value is not dskvs.Error
    }
    assert exported.keys() == BASES.keys()
    for name, bases in BASES.items():
        assert issubclass(exported[name], bases), name
        assert exported[name].__doc__


@pytest.mark.parametrize(
    "key", ["", "/", "x", "x/", "/x", "//x", ".", "..", "x" * 70_000, "c/" + "m" * 65_534]
)
def test_invalid_keys(db, key):
    for call in (
        lambda: db[key],
        lambda: db.get(key),
        lambda: key in db,
        lambda: db.put(key, b""),
        lambda: db.delete(key),
        lambda: db.view(key),
        lambda: db.pop(key),
        lambda: db.setdefault(key, b""),
        lambda: db.get_many(["a/1", key]),
        lambda: db.put_if(key, b"", None),
        lambda: db.delete_if(key, None),
    ):
        with pytest.raises(dskvs.InvalidKeyError) as error:
            call()
        assert error.value.code == -2
        assert "m" * 10 not in str(error.value) and "x" * 10 not in str(error.value)


def test_valid_keys_at_the_edge(db):
    for key in ("x//", "./x", "../x", "a/b/c", "x/" + "m" * 65_533):
        db[key] = key.encode()
        assert db[key] == key.encode()


def test_locked_names_path_and_owner(db, path):
    for other in (path, os.path.join(path, "."), os.path.join(path, "..", "store")):
        with pytest.raises(BlockingIOError) as error:
            dskvs.open(other)
        assert type(error.value) is dskvs.LockedError
        assert error.value.errno == errno.EAGAIN
        assert error.value.filename == other
        assert error.value.code == -4
        assert str(os.getpid()) in str(error.value)


def test_paths_where_no_store_can_be(tmp_path, db, path):
    file = tmp_path / "file"
    file.write_text("not a store")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "something").write_text("not ours")
    for bad, number in (
        (file, errno.ENOTDIR),
        (file / "below", errno.ENOTDIR),
        (tmp_path / "missing" / "below", errno.ENOENT),
        (foreign, errno.EINVAL),
        (tmp_path / "store" / "inside", errno.ENOENT),
    ):
        with pytest.raises(dskvs.PathError) as error:
            dskvs.open(bad)
        assert error.value.errno == number, bad
        assert error.value.filename == str(bad)
        assert error.value.code == -3
    assert sorted(os.listdir(tmp_path)) == ["file", "foreign", "store"]


def test_conflict_and_timeout_have_words(db):
    db["a/1"] = b"one"
    with pytest.raises(dskvs.ConflictError, match="another one") as error:
        db.put_if("a/1", b"two", None)
    assert error.value.code == 3


def test_an_error_can_be_made_by_hand():
    assert dskvs.Error("text").code == 0
    assert dskvs.StorageError(5, "text", "file").filename == "file"


def test_everything_says_that_a_store_is_closed(path):
    db = dskvs.open(path)
    db["a/1"] = b"one"
    collection = db.collection("a")
    view = db.view("a/1")
    mark = db.mark()
    assert not db.closed
    db.close()
    assert db.closed
    db.close()  # again is fine
    for call in (
        lambda: db["a/1"],
        lambda: db.__setitem__("a/1", b""),
        lambda: db.__delitem__("a/1"),
        lambda: "a/1" in db,
        lambda: len(db),
        lambda: list(db),
        lambda: list(db.values()),
        lambda: list(db.items()),
        lambda: db.get("a/1"),
        lambda: db.put("a/1", b""),
        lambda: db.delete("a/1"),
        lambda: db.contains("a/1"),
        lambda: db.view("a/1"),
        lambda: db.put_if("a/1", b"", view),
        lambda: db.delete_if("a/1", view),
        lambda: db.pop("a/1"),
        lambda: db.pop("a/1", None),
        db.popitem,
        lambda: db.setdefault("a/1", b""),
        lambda: db.update({"a/1": b""}),
        db.clear,
        lambda: db.get_many(["a/1"]),
        lambda: db.get_all("a"),
        lambda: db.delete_all("a"),
        db.collections,
        lambda: db.collection("a"),
        db.count,
        db.mark,
        lambda: db.wait(mark),
        db.sync,
        db.stats,
        db.compact,
        lambda: db.backup(path + "-copy"),
        db.__enter__,
        lambda: collection["1"],
        lambda: collection.put("1", b""),
        lambda: len(collection),
        lambda: list(collection),
        collection.get_all,
        collection.delete_all,
    ):
        with pytest.raises(dskvs.ClosedError) as error:
            call()
        if call != db.__enter__:
            assert error.value.code == -5
    assert not os.path.exists(path + "-copy")
    assert db.verify() == []  # the files, not the store
    assert bytes(view) == b"one"


def test_wrong_counts_of_arguments(db):
    for call in (db.get, db.put, db.delete, db.contains, db.view, db.put_if, db.delete_if, db.pop):
        with pytest.raises(TypeError):
            call()
        with pytest.raises(TypeError):
            call("a/1", b"", None, None)
    with pytest.raises(TypeError):
        db.setdefault("a/1")
    with pytest.raises(TypeError):
        db.wait()
    with pytest.raises(TypeError):
        dskvs.open()


def test_types_that_are_not_for_making():
    from dskvs import _core

    for kind in (_core.Pin, _core.Snapshot):
        with pytest.raises(TypeError):
            kind()
    with pytest.raises(TypeError):
        dskvs.Collection("store", "name")
