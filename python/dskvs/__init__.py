"""dskvs, the Dead Simple Key-Value Store: data that fits in RAM, kept on disk.

    import dskvs
    with dskvs.open("music") as db:                      # loads the store into memory
        db["artist/daft_punk"] = b'{"genre": "house"}'   # memory now, disk soon
        print(db["artist/daft_punk"])
        print(db.get_all("artist"))                      # {'daft_punk': b'...'}
        db.sync()                                        # optional: wait for the disk

Keys are "collection/member", str or bytes; values are bytes. Reads and writes are answered from
memory; a background thread keeps the disk up to date, and a normal exit loses nothing.
"""

from dskvs._core import DURABLE, WRITTEN, Stats
from dskvs._core import VERSION as __version__
from dskvs._errors import (
    ClosedError,
    ConflictError,
    CorruptError,
    Error,
    ForkedError,
    FullError,
    InvalidArgumentError,
    InvalidKeyError,
    LockedError,
    OutOfMemoryError,
    PathError,
    ReadOnlyError,
    StorageError,
    VersionError,
    WaitTimeout,
)
from dskvs._store import Collection, Store, open, salvage, verify

__all__ = [
    "DURABLE",
    "WRITTEN",
    "ClosedError",
    "Collection",
    "ConflictError",
    "CorruptError",
    "Error",
    "ForkedError",
    "FullError",
    "InvalidArgumentError",
    "InvalidKeyError",
    "LockedError",
    "OutOfMemoryError",
    "PathError",
    "ReadOnlyError",
    "Stats",
    "StorageError",
    "Store",
    "VersionError",
    "WaitTimeout",
    "__version__",
    "open",
    "salvage",
    "verify",
]
