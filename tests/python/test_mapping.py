"""Goal: a store, and a view of one collection, are the mappings that Python promises.

Method: every operation of MutableMapping on both kinds, each against what dict does with the same
keys; then random operations against dict, from a printed seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, MutableMapping

import dskvs
import pytest


@pytest.fixture(params=["store", "collection"])
def mapping(request: pytest.FixtureRequest, db: dskvs.Store) -> MutableMapping[str, bytes]:
    """An empty mapping that takes the keys a/1, a/2, ...; the collection beside another one."""
    if request.param == "store":
        return db
    db["elsewhere/x"] = b"not to be touched"
    return db.collection("here")


def test_is_a_mutable_mapping(mapping):
    assert isinstance(mapping, MutableMapping)
    assert isinstance(mapping, Mapping)


def test_get_set_delete(mapping):
    mapping["a/1"] = b"one"
    assert mapping["a/1"] == b"one"
    mapping["a/1"] = b"uno"
    assert mapping["a/1"] == b"uno"
    del mapping["a/1"]
    with pytest.raises(KeyError) as error:
        mapping["a/1"]
    assert error.value.args == ("a/1",)
    with pytest.raises(KeyError) as error:
        del mapping[b"a/1"]
    assert error.value.args == (b"a/1",)


def test_an_empty_value_is_a_value(mapping):
    mapping["a/1"] = b""
    assert "a/1" in mapping
    assert mapping["a/1"] == b""
    assert mapping.get("a/1", b"default") == b""
    assert mapping.view("a/1").nbytes == 0


def test_get_with_default(mapping):
    sentinel = object()
    assert mapping.get("a/1") is None
    assert mapping.get("a/1", sentinel) is sentinel
    mapping["a/1"] = b"one"
    assert mapping.get("a/1") == b"one"
    assert mapping.get("a/1", sentinel) == b"one"


def test_put_delete_contains(mapping):
    assert mapping.put("a/1", b"one") is None
    assert mapping.contains("a/1") is True
    assert mapping.delete("a/1") is True
    assert mapping.delete("a/1") is False
    assert mapping.contains("a/1") is False


def test_str_and_bytes_are_the_same_key(mapping):
    mapping["a/é"] = b"one"
    assert mapping["a/é".encode()] == b"one"
    mapping[b"a/\xc3\xa9"] = b"two"
    assert mapping["a/é"] == b"two"
    assert len(mapping) == 1


def test_length_and_truth(mapping):
    assert len(mapping) == 0
    assert not mapping
    mapping["a/1"] = b""
    mapping["a/2"] = b""
    assert len(mapping) == 2
    assert mapping


def test_iteration(mapping):
    expected = {f"a/{i}": str(i).encode() for i in range(100)}
    mapping.update(expected)
    assert set(mapping) == set(expected)
    assert sorted(mapping.keys()) == sorted(expected)
    assert sorted(mapping.values()) == sorted(expected.values())
    assert dict(mapping.items()) == expected
    assert dict(mapping) == expected
    assert mapping == expected
    assert mapping != {**expected, "a/1": b"other"}
    assert all(type(key) is str for key in mapping)


def test_views_of_the_mapping(mapping):
    mapping["a/1"] = b"one"
    keys, values, items = mapping.keys(), mapping.values(), mapping.items()
    mapping["a/2"] = b"two"
    assert len(keys) == len(values) == len(items) == 2
    assert "a/2" in keys and "a/3" not in keys
    assert b"two" in values and b"three" not in values
    assert ("a/2", b"two") in items and ("a/2", b"one") not in items
    assert keys & {"a/1", "a/3"} == {"a/1"}
    assert items ^ {("a/1", b"one")} == {("a/2", b"two")}


def test_iteration_is_over_a_snapshot(mapping):
    mapping.update({f"a/{i}": b"before" for i in range(50)})
    seen = {}
    for key, value in mapping.items():
        mapping.clear()
        mapping["a/new"] = b"after"
        seen[key] = value
    assert seen == {f"a/{i}": b"before" for i in range(50)}
    iterator = iter(mapping)
    mapping.clear()
    assert list(iterator) in (["a/new"], [])  # taken with iter(), or with the first step


def test_an_iterator_outlives_the_store(path):
    with dskvs.open(path) as db:
        db["a/1"] = b"one"
        iterator = iter(db.collection("a").items())
    assert list(iterator) == [("1", b"one")]


def test_pop(mapping):
    mapping["a/1"] = b"one"
    assert mapping.pop("a/1") == b"one"
    assert "a/1" not in mapping
    with pytest.raises(KeyError):
        mapping.pop("a/1")
    assert mapping.pop("a/1", None) is None
    assert mapping.pop("a/1", b"default") == b"default"


def test_popitem(mapping):
    expected = {"a/1": b"one", "a/2": b"two"}
    mapping.update(expected)
    assert dict([mapping.popitem(), mapping.popitem()]) == expected
    with pytest.raises(KeyError):
        mapping.popitem()


def test_setdefault(mapping):
    assert mapping.setdefault("a/1", b"one") == b"one"
    assert mapping.setdefault("a/1", b"two") == b"one"
    copied = mapping.setdefault("a/2", bytearray(b"two"))
    assert type(copied) is bytes and copied == b"two" == mapping["a/2"]


def test_update(mapping):
    class KeysOnly:
        def keys(self):
            return ["a/3"]

        def __getitem__(self, key):
            return b"three"

    mapping.update({"a/1": b"one"})
    mapping.update([("a/2", b"two")])
    mapping.update(KeysOnly())
    mapping.update()
    assert dict(mapping) == {"a/1": b"one", "a/2": b"two", "a/3": b"three"}


def test_update_by_keyword(db):
    collection = db.collection("a")
    collection.update({"1": b"one"}, two=b"two", other=b"three")
    assert dict(collection) == {"1": b"one", "two": b"two", "other": b"three"}
    with pytest.raises(dskvs.InvalidKeyError):
        db.update(two=b"two")


def test_clear(mapping):
    mapping.update({"a/1": b"one", "b/1": b"two"})
    mapping.clear()
    assert dict(mapping) == {}
    assert len(mapping) == 0


def test_get_many(mapping):
    mapping.update({"a/1": b"one", "a/2": b"two", "b/1": b"three"})
    wanted = ["a/1", b"b/1", "a/none", "a/1"]
    assert mapping.get_many(wanted) == {"a/1": b"one", b"b/1": b"three"}
    assert mapping.get_many(iter(wanted)) == {"a/1": b"one", b"b/1": b"three"}
    assert mapping.get_many([]) == {}
    with pytest.raises(TypeError):
        mapping.get_many(["a/1", 5])
    with pytest.raises(TypeError):
        mapping.get_many(5)


def test_a_collection_leaves_the_others_alone(db):
    db.update({"a/1": b"one", "b/1": b"two"})
    a, b = db.collection("a"), db.collection(b"b")
    assert (a.name, b.name) == ("a", "b")
    assert a.store is db
    a.clear()
    assert dict(b) == {"1": b"two"}
    b["deep/er"] = b"three"
    assert db["b/deep/er"] == b"three"
    assert b.get_all() == db.get_all("b") == {"1": b"two", "deep/er": b"three"}
    assert b.delete_all() == 2
    assert len(db) == 0


def test_keys_of_every_length_through_a_collection(db):
    """The prefix and the member are joined in a small buffer, in a large one, or are too long."""
    collection = db.collection("c" * 100)
    lengths = [1, 154, 155, 156, 1000, 65434]
    for length in lengths:
        collection["m" * length] = str(length).encode()
    assert {len(member): int(value) for member, value in collection.items()} == {
        length: length for length in lengths
    }
    assert db["c" * 100 + "/" + "m" * 1000] == b"1000"
    for length in (65435, 65436, 10_000_000):
        with pytest.raises(dskvs.InvalidKeyError):
            collection["m" * length] = b""
        with pytest.raises(dskvs.InvalidKeyError):
            collection.get("m" * length)


def random_key(random_source: random.Random) -> str:
    return f"c{random_source.randrange(3)}/k{random_source.randrange(20)}"


def test_random_operations_as_on_a_dict(path, seed):
    random_source = random.Random(seed)
    model: dict[str, bytes] = {}
    db = dskvs.open(path)
    for _ in range(5000):
        key = random_key(random_source)
        value = random_source.randbytes(random_source.choice([0, 1, 100, 1023, 1024, 1025, 70_000]))
        match_on = random_source.randrange(12)
        if match_on < 4:
            db[key] = model[key] = value
        elif match_on == 4:
            assert db.delete(key) == (model.pop(key, None) is not None)
        elif match_on == 5:
            assert db.pop(key, None) == model.pop(key, None)
        elif match_on == 6:
            assert db.setdefault(key, value) == model.setdefault(key, value)
        elif match_on == 7:
            name = key.partition("/")[0]
            here = {k.partition("/")[2]: v for k, v in model.items() if k.startswith(name + "/")}
            assert db.get_all(name) == here == dict(db.collection(name))
        elif match_on == 8 and random_source.randrange(10) == 0:
            name = key.partition("/")[0]
            doomed = [k for k in model if k.startswith(name + "/")]
            assert db.delete_all(name) == len(doomed)
            for gone in doomed:
                del model[gone]
        elif match_on == 9 and random_source.randrange(20) == 0:
            db.close()
            db = dskvs.open(path)
        else:
            assert db.get(key) == model.get(key)
            assert (key in db) == (key in model)
        assert len(db) == len(model)
    assert dict(db) == model
    db.close()
