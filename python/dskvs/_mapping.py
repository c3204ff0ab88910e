"""What a store and a collection have in common as mappings, where _core does not say it already."""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, MutableMapping, ValuesView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem
    from collections.abc import Iterable, Iterator
    from typing import Any, NoReturn, TypeAlias

    from typing_extensions import Buffer

    Key: TypeAlias = str | bytes
    Pairs: TypeAlias = (
        SupportsKeysAndGetItem[str, Buffer]
        | SupportsKeysAndGetItem[bytes, Buffer]
        | Iterable[tuple[Key, Buffer]]
    )

# What iterators yield: the numbers of _core.
KEYS, VALUES, ITEMS = range(3)


class Keys(KeysView[str]):
    __slots__ = ()
    _mapping: BytesMapping


class Values(ValuesView[bytes]):
    __slots__ = ()
    _mapping: BytesMapping

    def __iter__(self) -> Iterator[bytes]:
        return self._mapping._iterate_values()

    def __contains__(self, value: object) -> bool:
        return any(value == found for found in self)


class Items(ItemsView[str, bytes]):
    __slots__ = ()
    _mapping: BytesMapping

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return self._mapping._iterate_items()


class BytesMapping(MutableMapping[str, bytes]):
    """Keys in are str or bytes, keys out are str; values are bytes."""

    __slots__ = ()

    if TYPE_CHECKING:  # of _core, and of those who derive from this

        def put(self, key: Key, value: Buffer, /) -> None: ...
        def _iterate_values(self) -> Iterator[bytes]: ...
        def _iterate_items(self) -> Iterator[tuple[str, bytes]]: ...

    def keys(self) -> Keys:
        """The keys, always as they are now; iterating is over a snapshot."""
        return Keys(self)

    def values(self) -> Values:
        """The values, always as they are now; iterating is over a snapshot."""
        return Values(self)

    def items(self) -> Items:
        """The pairs, always as they are now; iterating is over a snapshot."""
        return Items(self)

    def update(self, other: Pairs = (), /, **more: Buffer) -> None:
        """Puts every pair of a mapping or an iterable of pairs, one after the other."""
        given: Any = other
        pairs: Any = given
        if hasattr(given, "items"):
            pairs = given.items()
        elif hasattr(given, "keys"):
            pairs = ((key, given[key]) for key in given.keys())
        for key, value in pairs:
            self.put(key, value)
        for key, value in more.items():
            self.put(key, value)

    def popitem(self) -> tuple[str, bytes]:
        """Removes and returns some pair; KeyError when there is none.

        It takes a snapshot each time. To empty a whole collection, delete_all() is the call.
        """
        while True:
            for key in self:
                try:
                    return key, self.pop(key)
                except KeyError:  # another thread was faster
                    continue
            if not len(self):
                raise KeyError("popitem(): there is nothing")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a dskvs {type(self).__name__} cannot be pickled or copied: it is one process's lock "
            'on a directory. Pass its path, and open it in the worker (flag "r" if this process '
            "keeps it open)"
        )
