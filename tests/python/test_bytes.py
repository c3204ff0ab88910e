"""Goal: any key and any value that C can hold goes in and comes out of Python unchanged.

Method: keys of random bytes as bytes and as str; values of every kind of buffer; the refusals.
"""

from __future__ import annotations

import array
import ctypes
import mmap
import random

import dskvs
import pytest


def test_every_byte_in_a_key_round_trips(db):
    keys = [b"c\xff/" + bytes([byte]) for byte in range(256)]
    for key in keys:
        db[key] = key
    for key in db:
        assert db[key] == key.encode("utf-8", "surrogateescape")
        assert db.collection(key[: key.index("/")])[key.partition("/")[2]] == db[key]
    assert {db[key] for key in db} == set(keys)
    assert db.collections() == {"c\udcff": 256}
    assert set(db.get_all("c\udcff")) == {key.partition("/")[2] for key in db}


def test_random_keys_round_trip(db, seed):
    source = random.Random(seed)
    model = {}
    for _ in range(1000):
        key = b"c/" + source.randbytes(source.randrange(1, 400))
        db[key] = model[key] = source.randbytes(8)
    assert {key.encode("utf-8", "surrogateescape"): value for key, value in db.items()} == model
    assert all(db[key] == value for key, value in model.items())


def test_a_surrogate_that_stands_for_no_byte_is_no_key(db):
    for key in ("c/\ud800", "\udfff/x", "c/\udc7f"):
        with pytest.raises(UnicodeEncodeError):
            db[key] = b""
        with pytest.raises(ValueError):
            db.collection("c")[key]


def test_subclasses_of_str_and_bytes_are_keys(db):
    class Text(str):
        pass

    class Raw(bytes):
        pass

    db[Text("c/1")] = Raw(b"one")
    assert db[Raw(b"c/1")] == b"one"
    assert type(db["c/1"]) is bytes


@pytest.mark.parametrize("key", [None, 5, 1.5, bytearray(b"c/x"), memoryview(b"c/x"), ("c", "x")])
def test_other_keys_are_a_type_error(db, key):
    collection = db.collection("c")
    for mapping in (db, collection):
        for call in (
            lambda m: m[key],
            lambda m: m.__setitem__(key, b""),
            lambda m: m.__delitem__(key),
            lambda m: key in m,
            lambda m: m.get(key),
            lambda m: m.put(key, b""),
            lambda m: m.delete(key),
            lambda m: m.contains(key),
            lambda m: m.view(key),
            lambda m: m.put_if(key, b"", None),
            lambda m: m.delete_if(key, None),
            lambda m: m.pop(key),
            lambda m: m.setdefault(key, b""),
        ):
            with pytest.raises(TypeError, match="key is str or bytes"):
                call(mapping)
    for call in (db.collection, db.get_all, db.delete_all):
        with pytest.raises(TypeError, match="name is str or bytes"):
            call(key)


def buffers():
    shared = mmap.mmap(-1, 3)
    shared[:] = b"abc"
    strided = memoryview(b"a-b-c-")[::2]
    return {
        "bytes": b"abc",
        "bytearray": bytearray(b"abc"),
        "memoryview": memoryview(b"-abc-")[1:4],
        "copied view": memoryview(strided.tobytes()),
        "array": array.array("B", b"abc"),
        "ctypes": (ctypes.c_char * 3)(*b"abc"),
        "mmap": shared,
    }


@pytest.mark.parametrize("kind", buffers())
def test_any_buffer_is_a_value(db, kind):
    value = buffers()[kind]
    db["c/1"] = value
    assert db["c/1"] == b"abc"
    assert db.setdefault("c/2", value) == b"abc"
    db.put_if("c/3", value, None)
    assert db["c/3"] == b"abc"


def test_items_wider_than_a_byte_go_in_as_their_bytes(db):
    numbers = array.array("d", [1.5, -2.0])
    db["c/1"] = numbers
    assert db["c/1"] == numbers.tobytes()
    db["c/2"] = memoryview(numbers)
    assert db["c/2"] == numbers.tobytes()


def test_a_buffer_is_given_back(db):
    value = bytearray(b"abc")
    db["c/1"] = value
    with pytest.raises(dskvs.InvalidKeyError):
        db["none"] = value
    value.append(0)  # BufferError while anybody still held it
    assert db["c/1"] == b"abc"


@pytest.mark.parametrize("value", [None, 5, "text", ["a"], object()])
def test_other_values_are_a_type_error(db, value):
    db["c/1"] = b"before"
    for call in (db.put, db.__setitem__, lambda k, v: db.put_if(k, v, None)):
        with pytest.raises(TypeError, match="value is bytes or another buffer"):
            call("c/1", value)
    with pytest.raises(TypeError, match="value is bytes or another buffer"):
        db.setdefault("c/2", value)
    assert dict(db) == {"c/1": b"before"}


def test_a_value_in_pieces_is_refused(db):
    with pytest.raises(BufferError):
        db["c/1"] = memoryview(b"a-b-c-")[::2]
    assert "c/1" not in db


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 65535, 65536, 65537, 5_000_000])
def test_values_of_every_size(db, size):
    value = random.Random(size).randbytes(size)
    db["c/1"] = value
    assert db["c/1"] == value
    assert db.get("c/1") == value
    assert db.get_all("c") == {"1": value}
    assert db.get_many(["c/1"]) == {"c/1": value}
    assert bytes(db.view("c/1")) == value
    assert list(db.values()) == [value]
    assert db.pop("c/1") == value
