"""The store, and the view of one of its collections."""

from __future__ import annotations

import os
from itertools import chain

from dskvs import _core, _lifetime
from dskvs._errors import ClosedError, Error, ForkedError
from dskvs._mapping import ITEMS, KEYS, VALUES, BytesMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event
    from types import TracebackType
    from typing import Any, TypeAlias

    from typing_extensions import Self

    from dskvs._mapping import Key
    from dskvs._waiting import Loops

    Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
    Progress: TypeAlias = Callable[[int, int], object]

# (read_only, create)
_FLAGS = {"r": (True, False), "w": (False, False), "c": (False, True), "n": (False, True)}


class Store(_core.Store, BytesMapping):
    """An open store: a mapping from "collection/member" to bytes. See open().

    All methods may be called from any thread. Iteration is over snapshots, one collection after the
    other. In the child of a fork every call raises ForkedError.
    """

    __slots__ = ("__weakref__", "_place", "_unfinished", "_waiters")
    _place: str  # as path, wherever the working directory is moved to
    _unfinished: list[Event]  # of calls that a Ctrl-C has left running, set at their ends
    _waiters: Loops

    def __new__(
        cls,
        path: Path,
        flag: str = "c",
        *,
        sync_interval_ms: int | None = None,
        memory_bytes_max: int | None = None,
        dirty_bytes_max: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        if flag not in _FLAGS:
            raise ValueError(f'flag is "r", "w", "c" or "n", not {flag!r}')
        read_only, create = _FLAGS[flag]
        self = super().__new__(
            cls,
            path,
            read_only,
            create,
            sync_interval_ms,
            memory_bytes_max,
            dirty_bytes_max,
            progress,
        )
        self._place = os.path.abspath(os.fsdecode(path))
        self._unfinished = []
        self._waiters = {}
        _lifetime.enroll(self)
        if flag == "n":
            try:
                self.clear()
            except BaseException:
                self.close()
                raise
        return self

    def collection(self, name: Key) -> Collection:
        """A view of one collection: a mapping from its members to their values."""
        return Collection(self, name)

    def __iter__(self) -> Iterator[str]:
        return self._iterate(KEYS)

    def _iterate_values(self) -> Iterator[bytes]:
        return self._iterate(VALUES)

    def _iterate_items(self) -> Iterator[tuple[str, bytes]]:
        return self._iterate(ITEMS)

    def _iterate(self, what: int) -> Iterator[Any]:
        return chain.from_iterable(self._snapshot(name, what) for name in self.collections())

    def clear(self) -> None:
        """Removes every collection, one after the other."""
        for name in self.collections():
            self.delete_all(name)

    def verify(self, progress: Progress | None = None) -> list[tuple[str, str]]:
        """Checks every byte on the disk; see the function verify()."""
        return _core.verify(self._place, progress)

    def compact(self) -> None:
        """Frees the disk of all that is overwritten or deleted.

        Seldom needed: it happens by itself. Ctrl-C leaves it running in the background. Raises an
        OSError when files that are of no use any more cannot be removed.
        """
        self._interruptibly(super().compact)

    def backup(self, path: Path) -> None:
        """Copies the store, as it is now, into the new or empty directory path.

        The copy is a store. Others may write meanwhile. Ctrl-C leaves it running in the background.
        """
        copy = super().backup
        self._interruptibly(lambda: copy(path))

    def _interruptibly(self, call: Callable[[], None]) -> None:
        """Makes a long call that has no way to be cancelled, so that signal handlers run meanwhile."""
        import contextlib
        import threading

        if threading.current_thread() is not threading.main_thread():
            return call()  # signal handlers run in the main thread alone
        outcome: list[BaseException] = []
        ended = threading.Event()  # a join() that a signal interrupts may take the thread for ended
        calls = [call]  # the thread takes it out, or whoever finds that it has not begun

        def run() -> None:
            try:
                calls.pop()()
            except BaseException as error:
                outcome.append(error)
            finally:
                ended.set()

        try:
            # Before the thread starts: when Ctrl-C comes while it does, close() waits for it.
            self._unfinished.append(ended)
            threading.Thread(target=run, name="dskvs", daemon=True).start()
        except BaseException:
            with contextlib.suppress(IndexError, ValueError):  # unless it has begun
                calls.pop()
                self._unfinished.remove(ended)
                ended.set()  # a close() may wait for it already
            raise
        ended.wait()
        self._unfinished.remove(ended)
        if outcome:
            raise outcome[0]

    async def wait_async(
        self, mark: int, level: int = _core.DURABLE, timeout: float | None = None
    ) -> None:
        """As wait(), for asyncio. It needs no thread."""
        from dskvs import _waiting

        await _waiting.wait(self, self._waiters, mark, level, timeout)

    async def sync_async(self, timeout: float | None = None) -> None:
        """As sync(), for asyncio. It needs no thread."""
        mark = self.mark()
        self._hurry()
        await self.wait_async(mark, _core.DURABLE, timeout)

    def close(self) -> None:
        """Makes everything durable and closes the store; closing again does nothing.

        Raises StorageError when the disk fails: the store is closed nevertheless, and the message
        says how much is not durable. After a Ctrl-C the store is open as before, and is closed when
        the interpreter exits.
        """
        if self.closed:
            return
        for ended in list(self._unfinished):  # not removed: those who wait for their call do that
            ended.wait()
        self._close()

    def __enter__(self) -> Self:
        if self.closed:
            raise ClosedError(f"{self.path}: the store is closed")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except ForkedError:
            pass  # it is the parent's to close

    def __del__(self) -> None:
        _lifetime.dismiss(self)
        if self.closed:
            return
        try:
            self.mark()
        except ForkedError:
            return
        except Error:
            pass
        text = f"unclosed {self!r}"
        try:
            self.close()
        except Error as error:
            _lifetime.log_lost(self.path, error)
        # Last: it raises where warnings are errors, or cannot be imported any more.
        import warnings

        warnings.warn(text, ResourceWarning, source=self)

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<dskvs.Store {self.path!r}{state}>"


class Collection(_core.Collection, BytesMapping):
    """The members of one collection as a mapping; get it from Store.collection().

    It costs next to nothing, and reads and writes the store itself.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        return self._snapshot(KEYS)

    def _iterate_values(self) -> Iterator[bytes]:
        return self._snapshot(VALUES)

    def _iterate_items(self) -> Iterator[tuple[str, bytes]]:
        return self._snapshot(ITEMS)

    def clear(self) -> None:
        """Removes all members at one instant."""
        self.delete_all()

    def __repr__(self) -> str:
        return f"<dskvs.Collection {self.name!r} of {self.store!r}>"


def open(
    path: Path,
    flag: str = "c",
    *,
    sync_interval_ms: int | None = None,
    memory_bytes_max: int | None = None,
    dirty_bytes_max: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Opens the store in directory path, and loads all of it into memory.

    flag is, as in dbm, "r": read the last committed state, also beside a writer; "w": it must
    exist; "c": it is created when needed; "n": it is emptied first.
    sync_interval_ms is the longest time from written to synced under load (100; 0: only on sync,
    wait and close), memory_bytes_max a limit on memory (none), dirty_bytes_max on what may wait for
    the disk (256 MiB); None stands for the default in parentheses.
    progress(done, total) is told of bytes read, every few MiB, while it loads.
    What it raises cancels the opening, and so does Ctrl-C.
    """
    return Store(
        path,
        flag,
        sync_interval_ms=sync_interval_ms,
        memory_bytes_max=memory_bytes_max,
        dirty_bytes_max=dirty_bytes_max,
        progress=progress,
    )


def verify(path: Path, progress: Progress | None = None) -> list[tuple[str, str]]:
    """Checks every byte of the store in directory path, which may be open elsewhere.

    Returns what is damaged, as (file, "offset N: kind of damage"): nothing, when all is well.
    """
    return _core.verify(path, progress)


def salvage(path: Path, target: Path, progress: Progress | None = None) -> list[tuple[str, str]]:
    """Copies what is intact of a damaged store into a new one, in directory target.

    Nothing is changed at path. Returns what is damaged, as verify() does. What lay there is lost,
    and an older version of its keys, or a key deleted there, may have come back.
    """
    return _core.salvage(path, target, progress)
