"""What quickstart.sh shows: real data goes in, survives kills, and comes out again.

    quickstart.py TREE STORE            the demonstration
    quickstart.py --write STORE FIRST   the process that is killed: overwrites everything, for ever

A value is overwritten with versions of itself: a line that says which generation it is and holds a
hash over the generation, the key and the content, then the content of the file. One thread writes
them in the order of the keys, so any state that existed is a prefix of a known sequence of puts:
that, and not only that each value is whole, is what is checked after a kill.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import dskvs

KILLS = 3
MARKER = b"dskvs-quickstart "


def digest(*parts: bytes) -> bytes:
    hash_ = hashlib.blake2b(digest_size=16)
    for part in parts:
        hash_.update(len(part).to_bytes(8, "little"))
        hash_.update(part)
    return hash_.hexdigest().encode()


def run_tool(*arguments: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Runs `dskvs`, which says itself what is wrong."""
    sys.stdout.flush()
    if subprocess.run(["dskvs", *arguments]).returncode not in allowed:
        raise SystemExit(f"dskvs {arguments[0]} failed")


# ---- A tree of files, as `dskvs load` maps it to keys


def files(tree: bytes, store_path: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields (key, path) of every readable regular file, those of the store itself aside."""
    for directory, inner, names in os.walk(tree):
        inner[:] = [name for name in inner if os.path.join(directory, name) != store_path]
        for name in names:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, tree)
            if stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.R_OK):
                yield (relative if b"/" in relative else b"root/" + relative), path


def check_demand(found: list[tuple[bytes, bytes]]) -> None:
    """Refuses a tree that this demonstration cannot be made with."""
    if not found:
        raise SystemExit("there is no readable file in it")
    for (key, _), (next_key, _) in zip(found, found[1:]):
        if key == next_key:
            raise SystemExit(f"two files of it would have the key {key!r}")
    demand = 4 * sum(os.path.getsize(path) for _, path in found)
    with open("/proc/meminfo") as figures:
        available = next(line for line in figures if line.startswith("MemAvailable"))
    memory = 1024 * int(available.split()[1])
    if demand > memory:
        raise SystemExit(f"it takes {demand:,} bytes of memory, and {memory:,} are free")


# ---- Versions of a value


def version(generation: int, key: bytes, content: bytes) -> bytes:
    proof = digest(b"%d" % generation, key, content)
    return MARKER + b"%d %s\n" % (generation, proof) + content


def take_apart(key: bytes, value: bytes) -> tuple[int, bytes]:
    """Returns generation and content; generation 0 is the file itself. Raises when it is torn."""
    if not value.startswith(MARKER):
        return 0, value
    head, content = value.split(b"\n", 1)
    _, generation, proof = head.split(b" ")
    if proof != digest(generation, key, content):
        raise ValueError("the hash in the value does not fit its bytes")
    return int(generation), content


# ---- The process that is killed


def write_for_ever(store_path: str, first_generation: int) -> NoReturn:
    """Overwrites all values, in order; says on stdout how many puts are known to be written."""
    puts = 0

    def acknowledge() -> None:
        while True:
            covered = puts
            mark = db.mark()
            db.wait(mark, dskvs.WRITTEN)
            os.write(1, b"%d %d\n" % (covered, mark))
            time.sleep(0.001)

    db = dskvs.open(store_path, "w")
    keys = sorted(key.encode("utf-8", "surrogateescape") for key in db)
    contents = {key: take_apart(key, db[key])[1] for key in keys}
    threading.Thread(target=acknowledge, daemon=True).start()
    generation = first_generation
    while True:
        for key, content in contents.items():
            db[key] = version(generation, key, content)
            puts += 1
        generation += 1


# ---- The demonstration


class Demonstration:
    def __init__(self, tree: str, store_path: str, seed: int) -> None:
        self.tree = os.fsencode(tree)
        self.store_path = store_path
        self.random = random.Random(seed)
        self.content_digest: dict[bytes, bytes] = {}  # of the file, by key
        self.generation: dict[bytes, int] = {}  # that the store holds, by key, in key order

    def load(self) -> None:
        print(f"\n== loading {os.fsdecode(self.tree)}")
        found = sorted(files(self.tree, os.fsencode(self.store_path)))
        check_demand(found)
        shutil.rmtree(self.store_path, ignore_errors=True)
        started = time.time()
        # 5: a file could not be read. Whatever else may be wrong, the check that follows finds it.
        run_tool("load", os.fsdecode(self.tree), self.store_path, allowed=(0, 5))
        seconds = time.time() - started
        changed = size = 0
        with dskvs.open(self.store_path, "r") as db:
            for key, path in found:
                if os.stat(path).st_mtime >= started:
                    changed += 1
                    continue
                with open(path, "rb") as file:
                    content = file.read()
                if db.get(key) != content:
                    raise SystemExit(f"key {key!r} does not hold the bytes of its file")
                size += len(content)
                self.content_digest[key] = digest(content)
                self.generation[key] = 0
            if len(db) != len(self.generation) + changed:
                raise SystemExit(f"{len(db)} keys for {len(self.generation) + changed} files")
        if changed:
            raise SystemExit(f"{changed} files changed meanwhile: give it a tree that keeps still")
        print(f"{len(self.generation)} files, {size:,} bytes, loaded and durable in {seconds:.2f} s")
        print("every value read back: equal to its file, and no key too many")

    def kill_a_writer(self) -> None:
        first = 1 + max(self.generation.values())
        writer = subprocess.Popen(
            [sys.executable, __file__, "--write", self.store_path, str(first)],
            stdout=subprocess.PIPE,
        )
        assert writer.stdout
        acknowledged = [writer.stdout.readline()]
        if not acknowledged[0]:
            raise SystemExit(f"the writer ended by itself, status {writer.wait()}")
        seconds = self.random.uniform(0.2, 2.0)
        killer = threading.Timer(seconds, writer.kill)
        killer.start()
        acknowledged += writer.stdout.readlines()  # to the end: the death of the writer
        if writer.wait() != -9:
            raise SystemExit(f"the writer ended by itself, status {writer.returncode}")
        whole = [line for line in acknowledged if line.endswith(b"\n")]
        puts, epoch = map(int, whole[-1].split())
        print(
            f"killed after {seconds:.3f} s; acknowledged as written: {puts:,} puts, up to epoch {epoch}"
        )
        self.check_after_kill(first, puts, epoch)

    def check_after_kill(self, first: int, acknowledged_puts: int, acknowledged_epoch: int) -> None:
        started = time.perf_counter()
        with dskvs.open(self.store_path, "w") as db:
            seconds = time.perf_counter() - started
            stats = db.stats()
            found = {key: self.check_value(key, db[key]) for key in self.generation}
            if len(db) != len(found):
                raise SystemExit(f"{len(db)} keys came back, not {len(found)}")
        # The puts of this writer that the state holds, and the one state that so many puts make.
        puts = sum(max(0, generation - first + 1) for generation in found.values())
        rounds, rest = divmod(puts, len(found))
        for index, (key, before) in enumerate(self.generation.items()):
            overwritten = rounds + (index < rest)
            if found[key] != (first - 1 + overwritten if overwritten else before):
                raise SystemExit(f"not a state that existed: key {key!r}, after {puts} puts")
        if puts < acknowledged_puts or stats.recovered_epoch < acknowledged_epoch:
            raise SystemExit(
                f"lost: {puts} puts, epoch {stats.recovered_epoch} came back,"
                f" {acknowledged_puts} puts, epoch {acknowledged_epoch} had been acknowledged"
            )
        self.generation = found
        print(
            f"  reopened in {seconds:.3f} s: epoch {stats.recovered_epoch} came back,"
            f" exactly the first {puts:,} puts, every value whole"
        )

    def check_value(self, key: bytes, value: bytes) -> int:
        try:
            generation, content = take_apart(key, value)
        except ValueError as error:
            raise SystemExit(f"key {key!r}: {error}") from None
        if digest(content) != self.content_digest[key]:
            raise SystemExit(f"key {key!r} holds bytes that were never put")
        return generation


def main() -> None:
    if sys.argv[1] == "--write":
        write_for_ever(sys.argv[2], int(sys.argv[3]))
    seed = int(os.environ.get("QUICKSTART_SEED") or random.SystemRandom().randrange(1 << 32))
    demonstration = Demonstration(sys.argv[1], sys.argv[2], seed)
    demonstration.load()
    print(f"\n== overwriting it all in a second process, and killing that (seed {seed})")
    for _ in range(KILLS):
        demonstration.kill_a_writer()
    print("\n== measuring")
    here = os.path.dirname(demonstration.store_path)
    run_tool("bench", "--files", sys.argv[1], "--at", here)


if __name__ == "__main__":
    main()
