"""Goal: asyncio programs wait for the disk without blocking their loop and without threads.

Method: many waiters at once; timeouts, cancellation, closing; two loops in two threads.
"""

from __future__ import annotations

import asyncio
import threading
import time

import dskvs
import pytest
from dskvs import _waiting


def test_sync_async(db):
    async def main():
        db["a/1"] = b"one"
        mark = db.mark()
        assert await db.sync_async() is None
        assert db.stats().durable_epoch >= mark
        await db.wait_async(mark)
        await db.wait_async(mark, dskvs.WRITTEN, timeout=5)
        await db.sync_async(timeout=5)

    asyncio.run(main())
    assert db._waiters == {}


def test_many_waiters_need_no_threads_and_let_the_loop_run(db):
    threads = threading.active_count()
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async def write(number):
        db[f"a/{number}"] = bytes(1000)
        await db.sync_async()
        return number

    async def main():
        ticking = asyncio.create_task(tick())
        done = await asyncio.gather(*(write(number) for number in range(1000)))
        assert threading.active_count() == threads
        ticking.cancel()
        return done

    assert asyncio.run(main()) == list(range(1000))
    assert ticks > 0
    assert db.stats().dirty_bytes == 0
    assert db._waiters == {}


def test_those_who_come_all_the_time_do_not_keep_others_waiting():
    class Reached:
        def _reached(self, mark, level):
            return True

    async def main():
        loop = asyncio.get_running_loop()
        loops = {}
        waiters = loops[loop] = _waiting.Waiters(Reached(), loop, loops)
        first = waiters.add(1, dskvs.DURABLE)
        patience = time.monotonic() + 2
        while not first.done() and time.monotonic() < patience:
            waiters.add(1, dskvs.DURABLE)
            time.sleep(0.0002)
            await asyncio.sleep(0)
        assert first.done()
        assert loops == {}

    asyncio.run(main())


def test_a_timeout(path):
    async def main(db):
        for number in range(200):
            db[f"a/{number}"] = bytes(1 << 20)
        mark = db.mark()
        with pytest.raises(dskvs.WaitTimeout):
            await db.wait_async(mark, timeout=0)
        with pytest.raises(TimeoutError):
            await db.wait_async(mark, timeout=0.001)
        await db.wait_async(mark)

    with dskvs.open(path, dirty_bytes_max=1 << 32) as db:
        asyncio.run(main(db))


def test_loops_that_ended_before_the_disk_did_are_forgotten():
    class NeverReached:
        def _reached(self, mark, level):
            return False

        def wait(self, mark, level, timeout):
            raise dskvs.WaitTimeout

    loops = {}
    for _ in range(20):
        with pytest.raises(dskvs.WaitTimeout):
            asyncio.run(_waiting.wait(NeverReached(), loops, 1, dskvs.DURABLE, 0))
        assert len(loops) <= 1  # the last may be there until the next one comes


def test_cancelling_one_waiter_leaves_the_others(path):
    async def main(db):
        for number in range(100):
            db[f"a/{number}"] = bytes(1 << 20)
        mark = db.mark()
        tasks = [asyncio.create_task(db.wait_async(mark)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await tasks[0]
        await tasks[2]
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]

    with dskvs.open(path, dirty_bytes_max=1 << 32) as db:
        asyncio.run(main(db))
        assert db._waiters == {}


def test_closing_wakes_the_waiters(path):
    async def main():
        db = dskvs.open(path, dirty_bytes_max=1 << 32)
        for number in range(100):
            db[f"a/{number}"] = bytes(1 << 20)
        mark = db.mark()
        waiter = asyncio.create_task(db.wait_async(mark))
        await asyncio.sleep(0)
        db.close()
        with pytest.raises(dskvs.ClosedError):
            await waiter
        with pytest.raises(dskvs.ClosedError):
            await db.wait_async(mark)
        with pytest.raises(dskvs.ClosedError):
            await db.sync_async()

    asyncio.run(main())


def test_bad_arguments(db):
    async def main():
        with pytest.raises(dskvs.InvalidArgumentError):
            await db.wait_async(db.mark() + 1000)
        with pytest.raises(dskvs.InvalidArgumentError):
            await db.wait_async(db.mark(), 3)
        with pytest.raises(TypeError):
            await db.wait_async(None)

    asyncio.run(main())


def test_two_loops(db):
    failures = []

    def loop(name):
        async def main():
            for number in range(50):
                db[f"{name}/{number}"] = b"value"
                await asyncio.gather(db.sync_async(), db.sync_async())

        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=loop, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert db.collections() == {"a": 50, "b": 50}
    assert db._waiters == {}
