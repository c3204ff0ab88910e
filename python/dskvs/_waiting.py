"""Awaiting the disk.

A timer of the event loop asks how far the disk has come: no thread, so nothing that a fork, a
shutdown or another loop has to know of, and one timer however many wait. It asks after a quarter of
the time that the youngest has waited so far, and so adds at most that quarter to any wait.
"""

from __future__ import annotations

import asyncio

from dskvs._errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from dskvs._store import Store

    Loops: TypeAlias = dict[asyncio.AbstractEventLoop, "Waiters"]

_DELAY_S_MIN = 0.0005
_DELAY_S_MAX = 0.02


class Waiters:
    """Those who wait for one store in one event loop."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop, loops: Loops) -> None:
        self._store = store
        self._loop = loop
        self._loops = loops
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._youngest = loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, mark: int, level: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((mark, level, future))
        self._youngest = self._loop.time()
        # A timer that is due sooner stays: those who come all the time must not put it off.
        if self._timer is None or self._timer.when() > self._youngest + _DELAY_S_MIN:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(_DELAY_S_MIN, self._look)
        return future

    def _look(self) -> None:
        answers: dict[tuple[int, int], bool | Error] = {}
        for mark, level, future in self._waiting:
            if (mark, level) not in answers:
                answers[mark, level] = self._ask(mark, level)
            answer = answers[mark, level]
            if future.done():  # cancelled
                continue
            if isinstance(answer, Error):
                future.set_exception(answer)
            elif answer:
                future.set_result(None)
        self._waiting = [waiter for waiter in self._waiting if not waiter[2].done()]
        if self._waiting:
            delay = (self._loop.time() - self._youngest) / 4
            delay = min(max(delay, _DELAY_S_MIN), _DELAY_S_MAX)
            self._timer = self._loop.call_later(delay, self._look)
        else:
            del self._loops[self._loop]

    def _ask(self, mark: int, level: int) -> bool | Error:
        try:
            return self._store._reached(mark, level)
        except Error as error:
            return error


async def wait(
    store: Store, loops: Loops, mark: int, level: int, timeout: float | None
) -> None:
    for other in list(loops):
        if other.is_closed():  # before its timer could look, as after asyncio.run() of a timeout
            loops.pop(other, None)
    if store._reached(mark, level):
        return
    loop = asyncio.get_running_loop()
    waiters = loops.get(loop)
    if waiters is None:
        waiters = loops[loop] = Waiters(store, loop, loops)
    try:
        await asyncio.wait_for(waiters.add(mark, level), timeout)
    except asyncio.TimeoutError:
        store.wait(mark, level, 0)  # raises WaitTimeout, unless it was reached just now
