"""What happens to stores that nobody closed, and what is logged."""

from __future__ import annotations

import atexit
import os
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging

    from dskvs._store import Store

_PATIENCE_S = 2.0

_live: dict[int, weakref.ref[Store]] = {}


def enroll(store: Store) -> None:
    _live[id(store)] = weakref.ref(store)


def dismiss(store: Store) -> None:
    _live.pop(id(store), None)


def log_health(path: str, code: int, name: str | None) -> None:
    """Called by _core when it notices that the persister fell ill (code not 0) or got well."""
    if code:
        _logger().error("%s: cannot be written (%s); it is served from memory", path, name)
    else:
        _logger().warning("%s: is written again", path)


def log_lost(path: str, error: Exception) -> None:
    """Called when a store that nobody closed cannot be closed well."""
    _logger().error("%s: closing: %s", path, error)


def _logger() -> logging.Logger:
    # Takes longer to import than all of dskvs, and is seldom needed.
    import logging

    return logging.getLogger("dskvs")


def _close_at_exit() -> None:
    from dskvs._errors import Error, WaitTimeout

    for reference in list(_live.values()):
        store = reference()
        if store is None or store.closed:
            continue
        try:
            try:
                store.sync(_PATIENCE_S)
            except WaitTimeout:  # or it was opened to be read
                if dirty_bytes := store.stats().dirty_bytes:
                    _logger().warning("%s: still writing, %d bytes to go", store.path, dirty_bytes)
            except Error:
                pass  # close() gives a failing disk more time, and says what is lost
            store.close()
        except Error as error:
            _logger().error("%s: closing at exit: %s", store.path, error)


atexit.register(_close_at_exit)

# The child of a fork must not touch its parent's stores, nor warn about them.
os.register_at_fork(after_in_child=_live.clear)
