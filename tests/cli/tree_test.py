"""Goal: load takes exactly the files of a tree, and dump writes exactly the entries that can be
files, wherever hostile trees and hostile keys try to lead them.
Method: random trees there and back, compared file by file; trees with links, loops, pipes, sockets,
unreadable and endless things; keys made to escape, with the surroundings compared before and after.
"""

import json
import os
import socket
import threading
import unittest

from support import CliTest, announce_seed, reports

KEY_BYTES_MAX = 65535


def files_below(top):
    """Path (bytes) to content of all regular files."""
    files = {}
    top = os.fsencode(top)
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    files[os.path.relpath(path, top)] = file.read()
    return files


class TreeTest(CliTest):
    def setUp(self):
        super().setUp()
        self.tree = self.path("tree")
        os.mkdir(self.tree)

    def write(self, path, content=b"x"):
        full = os.path.join(os.fsencode(self.tree), os.fsencode(path))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(content)

    def load(self, tree=None, **options):
        """Returns what was left out, and why, as {path: reason}."""
        return self.load_and_check(tree or self.tree, self.store, **options)

    def entries(self):
        lines = self.ok("dump", "--ndjson", self.store).splitlines()
        return {e["key"]: e["value"] for e in map(json.loads, lines)}


class RoundTrip(TreeTest):
    def test_random_trees(self):
        rng = announce_seed("trees")
        letters = bytes(set(range(1, 256)) - {ord("/")})

        def name():
            while True:
                candidate = bytes(rng.choice(letters) for _ in range(rng.randint(1, 12)))
                if candidate not in (b".", b"..", b"root"):
                    return candidate

        directories = [b""]
        expected = {}
        for _ in range(300):
            parent = rng.choice(directories)
            path = os.path.join(parent, name())
            if os.path.lexists(os.path.join(os.fsencode(self.tree), path)):
                continue
            if rng.random() < 0.2 and path.count(b"/") < 6:
                os.mkdir(os.path.join(os.fsencode(self.tree), path))
                directories.append(path)
                continue
            content = rng.randbytes(rng.choice([0, 1, 100, 4096, 70_000]))
            self.write(path, content)
            expected[path if b"/" in path else b"root/" + path] = content
        self.assertEqual(self.load(), {})
        out = self.path("out")
        self.ok("dump", self.store, out)
        self.assertEqual(files_below(out), expected)
        self.store = self.path("again")
        self.assertEqual(self.load(out), {})
        self.ok("dump", self.store, self.path("out2"))
        self.assertEqual(files_below(self.path("out2")), expected)

    def test_the_mapping_from_paths_to_keys(self):
        for path in ["top", "a/b", "a/b.d/c", ".hidden", "-dash/-x"]:
            self.write(path, path.encode())
        os.makedirs(os.path.join(self.tree, "empty", "nothing"))
        self.assertEqual(self.load(), {})
        self.assertEqual(
            self.entries(),
            {
                "root/top": "top",
                "root/.hidden": ".hidden",
                "a/b": "a/b",
                "a/b.d/c": "a/b.d/c",
                "-dash/-x": "-dash/-x",
            },
        )

    def test_loading_again_overwrites_and_removes_nothing(self):
        self.write("a/kept", b"1")
        self.write("a/changed", b"1")
        self.load()
        os.unlink(os.path.join(self.tree, "a/kept"))
        self.write("a/changed", b"22")
        self.load()
        self.assertEqual(self.entries(), {"a/kept": "1", "a/changed": "22"})

    def test_a_dash_stands_for_json_lines_and_never_for_a_directory(self):
        lines = b'{"key": "a/b", "value": "x"}\n'
        work = self.path("work")
        os.mkdir(work)
        self.ok("load", "-", self.store, input=lines, cwd=work)
        for arguments in [(), ("--json",), ("--ndjson",), ("--ndjson", "--json")]:
            self.assertEqual(self.ok("dump", *arguments, self.store, "-", cwd=work), lines)
        self.assertEqual(os.listdir(work), [])
        self.expect(2, "load", "--from-dskvs-go", "-", self.path("new"), input=lines, cwd=work)
        self.ok("dump", self.store, "./-", cwd=work)
        self.assertEqual(files_below(work), {b"-/a/b": b"x"})
        os.mkdir(self.path("work", "-", "c"))
        self.ok("load", "./-", self.path("again"), cwd=work)
        self.assertEqual(self.ok("dump", self.path("again"), "-"), lines)

    def test_dump_into_an_empty_directory_only(self):
        self.write("a/b")
        self.load()
        out = self.path("out")
        os.mkdir(out)
        self.ok("dump", self.store, out)
        self.assertIn(b"not empty", self.expect(2, "dump", self.store, out))
        self.expect(5, "dump", self.store, os.path.join(out, "a", "b"))
        self.expect(5, "dump", self.store, self.path("missing", "parent"))


class HostileTrees(TreeTest):
    def test_links_are_not_followed(self):
        os.mkdir(self.path("elsewhere"))
        with open(self.path("elsewhere", "secret"), "w") as file:
            file.write("secret")
        self.write("a/b")
        links = {
            "to_file": self.path("elsewhere", "secret"),
            "to_directory": self.path("elsewhere"),
            "a/loop": "..",
            "a/self": "self",
            "a/broken": "nowhere",
        }
        for name, target in links.items():
            os.symlink(target, os.path.join(self.tree, name))
        self.assertEqual(self.load(), {name: "a symbolic link" for name in links})
        self.assertEqual(self.failed, {})
        self.assertEqual(self.entries(), {"a/b": "x"})

    def test_the_directory_itself_may_be_a_link(self):
        self.write("a/b")
        os.symlink(self.tree, self.path("link"))
        self.assertEqual(self.load(self.path("link")), {})
        self.assertEqual(self.entries(), {"a/b": "x"})

    def test_what_is_no_file_is_skipped_and_blocks_nothing(self):
        self.write("a/b")
        os.mkfifo(os.path.join(self.tree, "a", "pipe"))
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(os.path.join(self.tree, "a", "socket"))
        self.assertEqual(self.load(), {"a/pipe": "a pipe", "a/socket": "a socket"})
        self.assertEqual(self.failed, {})
        self.assertEqual(self.entries(), {"a/b": "x"})

    def test_unreadable_files_and_directories(self):
        self.write("a/b")
        self.write("a/locked")
        self.write("shut/c")
        os.chmod(os.path.join(self.tree, "a", "locked"), 0)
        os.chmod(os.path.join(self.tree, "shut"), 0)
        self.addCleanup(os.chmod, os.path.join(self.tree, "shut"), 0o700)
        os.symlink("b", os.path.join(self.tree, "a", "link"))
        self.load(as_mortal=True)
        self.assertEqual(
            self.failed, {"a/locked": "Permission denied", "shut": "Permission denied"}
        )
        self.assertEqual(self.skipped, {"a/link": "a symbolic link"})
        self.assertEqual(self.entries(), {"a/b": "x"})

    def test_the_store_itself_is_not_loaded(self):
        self.write("a/b")
        os.mkdir(os.path.join(self.tree, "data"))
        self.store = os.path.join(self.tree, "data", "store")
        for _ in range(2):
            self.assertEqual(self.load(), {"data/store": "the store itself"})
            self.assertEqual(self.failed, {})
        self.assertEqual(self.entries(), {"a/b": "x"})

    def test_a_store_is_not_loaded_into_itself(self):
        self.ok("put", self.store, "a/b", "x")
        os.symlink(self.store, self.path("link"))
        os.mkdir(self.path("empty"))
        for tree, store in [
            (self.store, self.store),
            (self.path("link"), self.store),
            (self.store, self.path("link")),
            (os.path.join(self.store, "."), self.store),
            (self.path("empty"), self.path("empty")),
        ]:
            with self.subTest(tree=tree, store=store):
                self.expect(2, "load", tree, store)
        self.expect(2, "load", ".", ".", cwd=self.store)
        self.assertEqual(self.entries(), {"a/b": "x"})
        self.assertEqual(os.listdir(self.path("empty")), [])

    def test_two_files_with_one_key(self):
        self.write("same", b"top")
        self.write("other", b"top")
        self.write("root/same", b"below")
        self.load()
        self.assertEqual(list(self.failed.values()), ["another file has the same key, root/same"])
        entries = self.entries()
        self.assertEqual(set(entries), {"root/same", "root/other"})
        self.assertNotEqual(entries["root/same"], {"same": "top"}.get(next(iter(self.failed)), "below"))

    def test_keys_too_long_and_directories_too_deep(self):
        self.write("a/b")
        name = "n" * 255
        descriptor = os.open(self.tree, os.O_RDONLY)
        for _ in range(258):
            os.mkdir(name, dir_fd=descriptor)
            child = os.open(name, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = child
            os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
        os.close(descriptor)
        self.load()
        self.assertEqual(set(self.failed.values()), {f"its key is longer than {KEY_BYTES_MAX} bytes"})
        # 256 a level and one more for the name: level 255 still fits, with 65,282 bytes.
        self.assertEqual(len(self.failed), 3)
        self.assertEqual(len(self.entries()), 256)

    def test_directories_without_end(self):
        descriptor = os.open(self.tree, os.O_RDONLY)
        for _ in range(450):
            os.mkdir("d", dir_fd=descriptor)
            child = os.open("d", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = child
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
        os.close(descriptor)
        self.write("z/b")
        self.load()
        self.assertEqual(list(self.failed.values()), ["too deep a directory"])
        self.assertEqual(self.entries(), {"z/b": "x"})

    def test_files_whose_size_is_not_what_stat_says(self):
        self.assertEqual(os.stat("/proc/sys/kernel/random/boot_id").st_size, 0)
        self.ok("load", "/proc/sys/kernel/random", self.store)
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            self.assertEqual(self.ok("get", self.store, "root/boot_id"), file.read())

    def test_a_file_that_grows_while_it_is_read(self):
        line = b"0123456789abcde\n"
        self.write("a/log", line)
        done = threading.Event()

        def append():
            with open(os.path.join(self.tree, "a", "log"), "ab", buffering=0) as file:
                while not done.is_set() and file.tell() < 8 << 20:
                    file.write(line * 4096)

        writer = threading.Thread(target=append)
        writer.start()
        try:
            for _ in range(5):
                self.assertEqual(self.load(), {})
                value = self.ok("get", self.store, "a/log")
                self.assertGreaterEqual(len(value), len(line))
                self.assertEqual(value, (line * (len(value) // 16 + 1))[: len(value)])
        finally:
            done.set()
            writer.join()

    def test_a_wrong_directory_creates_no_store(self):
        self.write("file")
        for wrong in [self.path("missing"), os.path.join(self.tree, "file")]:
            self.expect(5, "load", wrong, self.store)
            self.expect(5, "load", "--from-dskvs-go", wrong, self.store)
        self.assertFalse(os.path.exists(self.store))


class HostileKeys(TreeTest):
    def fill(self, keys):
        lines = "".join(json.dumps({"key": key, "value": key[:9]}) + "\n" for key in keys)
        self.ok("load", "--ndjson", self.store, input=lines.encode())

    def dump(self):
        """Returns the keys that were left out, and why; nothing outside has changed."""
        work = self.path("work")
        os.mkdir(work)
        before = files_below(self.directory)
        done = self.run_cli("dump", "--json", self.store, os.path.join(work, "out"), cwd=work)
        self.assertEqual(os.listdir(work), ["out"])
        after = files_below(self.directory)
        self.dumped = {
            path[len(b"work/out/") :].decode() for path in after if path.startswith(b"work/out/")
        }
        self.assertEqual({p: c for p, c in after.items() if not p.startswith(b"work/out/")}, before)
        lines = done.stderr.decode().splitlines()
        failed = reports(done, "dskvs: dump: cannot write")
        self.assertEqual(done.returncode, 5 if failed else 0, done.stderr)
        written = len(self.dumped)
        if failed:
            self.assertEqual(lines[-1], f"dskvs: dump: {written} written, {len(failed)} failed")
        self.assertEqual(len(lines), len(failed) + bool(failed))
        counts = json.loads(done.stdout)
        self.assertEqual((counts["entries"], counts["failed"]), (written, len(failed)))
        return failed

    def test_keys_that_would_escape(self):
        escaping = [
            "../x",
            "../../x",
            "a/..",
            "a/../x",
            "a/../../x",
            "a/../../../x",
            "a/b/../../../x",
            "./x",
            "a/.",
            "a/./b",
            "a//etc/passwd",
            "a//",
            "a/b//c",
            "a/b/",
            "a/b/..",
        ]
        self.fill(["a/kept", "a/...", "a/..b", "..a/b", *escaping])
        failed = self.dump()
        self.assertEqual(set(failed), set(escaping))
        self.assertEqual(
            set(failed.values()), {'"." or ".." in its path', "an empty name in its path"}
        )
        self.assertEqual(self.dumped, {"a/kept", "a/...", "a/..b", "..a/b"})

    def test_names_that_no_file_can_have(self):
        long_name = "n" * 256
        self.fill(["a/kept", "a/" + "n" * 255, "a/\0", "\0/a", "a/" + long_name, long_name + "/a"])
        self.assertEqual(
            self.dump(),
            {
                "$'a/\\000'": "a NUL in its path",
                "$'\\000/a'": "a NUL in its path",
                "a/" + long_name: "File name too long",
                long_name + "/a": "File name too long",
            },
        )
        self.assertEqual(self.dumped, {"a/kept", "a/" + "n" * 255})

    def test_a_file_where_another_key_needs_a_directory(self):
        self.fill(["a/b", "a/b/c", "a/b/c/d", "a/d/e", "a/d.e", "a/d"])
        # In the order of their bytes, the shorter key comes first.
        self.assertEqual(
            self.dump(),
            {key: "another key's file or directory is there" for key in ["a/b/c", "a/b/c/d", "a/d/e"]},
        )
        self.assertEqual(self.dumped, {"a/b", "a/d", "a/d.e"})

    def test_a_long_path_of_short_names(self):
        key = "a/" + "/".join("m" * 200 for _ in range(300))
        self.fill([key])
        self.ok("dump", self.store, self.path("out"))
        self.store = self.path("again")
        self.ok("load", self.path("out"), self.store)
        self.assertEqual(self.entries(), {key: key[:9]})


if __name__ == "__main__":
    unittest.main()
