"""The exceptions. The module _core raises them, by what dskvs.h returns."""

from __future__ import annotations


class Error(Exception):
    """What dskvs raises; by itself, a bug in dskvs."""

    code: int = 0
    """The status, as dskvs.h numbers it."""


class InvalidArgumentError(Error, ValueError):
    """An option out of bounds, or a mark that was not given yet."""


class InvalidKeyError(Error, ValueError):
    """No key: it is "collection/member", 65,535 bytes at most, neither part empty."""


class ClosedError(Error, ValueError):
    """The store is closed."""


class ForkedError(Error, RuntimeError):
    """The store belongs to the parent process: open it in the child."""


class ReadOnlyError(Error):
    """A write on a store that was opened with flag "r"."""


class ConflictError(Error):
    """The key's entry is not the one that was held."""


class FullError(Error):
    """The write would exceed memory_bytes_max. Nothing was changed."""


class OutOfMemoryError(Error, MemoryError):
    """The system has no memory to give. Nothing was changed."""


class WaitTimeout(Error, TimeoutError):
    """Not reached within the timeout."""


class StorageError(Error, OSError):
    """The disk, or the path; with errno and filename."""


class PathError(StorageError):
    """Not a store, nor a place where one can be."""


class LockedError(StorageError, BlockingIOError):
    """Open already, in this process or another."""


class CorruptError(StorageError):
    """Bytes that were durable have changed or gone."""


class VersionError(StorageError):
    """The store was written by a later version of dskvs."""
