"""Goal: the commands for a store as a whole do what they say, beside a process that has it open too,
and damage is found, named and survived.
Method: a second process holds the store while every reading command runs; bytes of the files are
changed at places that a random generator picks; backups and salvaged stores are read back.
"""

import json
import os
import re
import unittest

from support import CliTest, announce_seed

STAT_FIELDS = """collections entries key_bytes value_bytes memory_bytes dirty_bytes accepted_epoch
written_epoch durable_epoch written_lag_us durable_lag_us disk_bytes segments bytes_written syncs
last_error recovered_epoch lost_epochs frames_cut live_bytes bytes_accepted bytes_cleaned
heals dirty_bytes_max""".split()


class StoreTest(CliTest):
    def fill(self, entries):
        lines = "".join(json.dumps({"key": k, "value": v}) + "\n" for k, v in entries.items())
        self.ok("load", "--ndjson", self.store, input=lines.encode())

    def entries(self, store=None):
        lines = self.ok("dump", "--ndjson", store or self.store).splitlines()
        return {e["key"]: e["value"] for e in map(json.loads, lines)}


def files_of(store):
    """Names and contents of all files but the lock, which holds the pid of the last owner."""
    files = {}
    for name in set(os.listdir(store)) - {"dskvs.lock"}:
        with open(os.path.join(store, name), "rb") as file:
            files[name] = file.read()
    return files


class Whole(StoreTest):
    def test_stat_prints_every_field_twice_the_same(self):
        self.fill({"a/1": "x" * 5000, "a/2": "", "b/1": "yy"})
        figures = json.loads(self.ok("stat", "--json", self.store))
        self.assertEqual(list(figures), STAT_FIELDS)
        self.assertEqual(
            {name: figures[name] for name in STAT_FIELDS[:4]},
            {"collections": 2, "entries": 3, "key_bytes": 9, "value_bytes": 5002},
        )
        self.assertEqual((figures["last_error"], figures["lost_epochs"]), (0, 0))
        self.assertGreaterEqual(figures["disk_bytes"], 5002)
        lines = self.ok("stat", self.store).decode().splitlines()
        table = {line.split()[0]: int(line.split()[1]) for line in lines}
        self.assertEqual(list(table), STAT_FIELDS)
        steady = STAT_FIELDS[:4] + ["disk_bytes", "segments", "recovered_epoch"]
        self.assertEqual({n: table[n] for n in steady}, {n: figures[n] for n in steady})

    def test_compact_keeps_every_entry(self):
        self.fill({f"a/{i}": "old" * 1000 for i in range(50)})
        self.fill({f"a/{i}": "new" for i in range(50)})
        before = json.loads(self.ok("stat", "--json", self.store))["disk_bytes"]
        done = json.loads(self.ok("compact", "--json", self.store))
        self.assertEqual(list(done), ["disk_bytes_before", "live_bytes"])
        self.assertEqual(done["disk_bytes_before"], before)
        after = json.loads(self.ok("stat", "--json", self.store))["disk_bytes"]
        self.assertTrue(0 < done["live_bytes"] <= after)
        self.assertEqual(self.ok("compact", self.store), b"")
        self.assertEqual(self.entries(), {f"a/{i}": "new" for i in range(50)})
        self.assertLess(json.loads(self.ok("stat", "--json", self.store))["disk_bytes"], before)

    def test_backup_is_a_store_and_takes_no_place_that_is_taken(self):
        self.fill({"a/1": "x", "b/2": "y"})
        target = self.path("target")
        self.assertEqual(self.ok("backup", self.store, target), b"")
        self.assertEqual(self.entries(target), {"a/1": "x", "b/2": "y"})
        done = json.loads(self.ok("backup", "--json", self.store, self.path("target2")))
        epoch = json.loads(self.ok("stat", "--json", self.store))["recovered_epoch"]
        self.assertEqual(done, {"entries": 2, "value_bytes": 2, "epoch": epoch})
        self.assertEqual(self.entries(self.path("target2")), {"a/1": "x", "b/2": "y"})
        self.ok("put", target, "a/1", "changed")
        self.assertEqual(self.ok("get", self.store, "a/1"), b"x")
        self.expect(2, "backup", self.store, target)
        self.expect(2, "backup", self.store, self.path("missing", "parent"))
        with open(self.path("file"), "w"):
            pass
        self.expect(2, "backup", self.store, self.path("file"))
        self.assertEqual(self.ok("get", target, "a/1"), b"changed")

    def test_watch_shows_what_changes(self):
        self.fill({"a/1": "x"})
        lines = self.ok("watch", "--count", "2", "--interval", "0.01", self.store).splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], rb"^UTC +collections +entries ")
        for line in lines[1:]:
            self.assertRegex(line, rb"^\d\d:\d\d:\d\d +1 +1 ")
        with self.holding(self.store) as put:
            put("a/2", "y")
            done = self.ok("watch", "--json", "--count", "1", self.store)
            self.assertEqual(json.loads(done)["entries"], 3)

    def test_bench_measures_and_leaves_nothing_behind(self):
        os.mkdir(self.path("files"))
        os.mkdir(self.path("work"))
        for i in range(20):
            with open(self.path("files", str(i)), "wb") as file:
                file.write(b"x" * i * 500)
        common = ["--seconds", "0.01", "--at", self.path("work")]
        figures = json.loads(self.ok("bench", "--json", *common, "--files", self.path("files")))
        self.assertEqual((figures["values"], figures["value_bytes"]), (20, 95_000))
        rows = {name: row for name, row in figures.items() if isinstance(row, dict)}
        self.assertEqual(
            list(rows),
            ["put", "put_written_lag", "put_durable_lag", "get", "get_into", "file_write"]
            + ["file_read", "isolated_written_lag", "isolated_durable_lag", "file_write_sync"],
        )
        for name, row in rows.items():
            self.assertLessEqual(row["p50_us"], row["p99_us"], name)
            self.assertLessEqual(row["p99_us"], row["p999_us"], name)
            if not name.startswith("put_"):
                self.assertGreaterEqual(row["operations"], 20, name)
                self.assertGreater(row["p50_us"], 0, name)
        table = self.ok("bench", *common).decode()
        self.assertRegex(table, r"(?m)^dskvs get .*\d+ +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d$")
        self.assertEqual(os.listdir(self.path("work")), [])
        self.expect(2, "bench", "--files", self.path("work"))
        self.expect(5, "bench", "--files", self.path("missing"))
        self.expect(5, "bench", "--at", self.path("missing"))


class OpenElsewhere(StoreTest):
    def test_reading_commands_show_what_the_other_process_wrote(self):
        with self.holding(self.store) as put:
            put("a/b", "one")
            put("a/c", "two")
            self.assertEqual(self.ok("get", self.store, "a/b"), b"one")
            self.assertEqual(self.ok("ls", self.store), b"2\ta\n1\tholder\n")
            self.assertEqual(self.ok("ls", self.store, "a"), b"3\tb\n3\tc\n")
            self.assertEqual(json.loads(self.ok("stat", "--json", self.store))["entries"], 3)
            self.assertEqual(self.ok("verify", self.store), b"")
            self.ok("dump", self.store, self.path("out"))
            self.assertEqual(sorted(os.listdir(self.path("out", "a"))), ["b", "c"])
            self.ok("backup", self.store, self.path("copy"))
            put("a/b", "three")
            self.assertEqual(self.ok("get", self.store, "a/b"), b"three")
            self.assertEqual(self.ok("get", self.path("copy"), "a/b"), b"one")
        self.assertEqual(self.ok("get", self.store, "a/b"), b"three")

    def test_writing_commands_are_exit_code_4_and_name_the_owner(self):
        with self.holding(self.store) as put:
            put("a/b", "one")
            os.mkdir(self.path("tree"))
            for arguments in [
                ("put", self.store, "a/b", "two"),
                ("rm", self.store, "a/b"),
                ("rm", "--collection", self.store, "a"),
                ("load", self.path("tree"), self.store),
                ("load", "--ndjson", self.store),
                ("load", "--from-dskvs-go", self.path("tree"), self.store),
                ("compact", self.store),
            ]:
                error = self.expect(4, *arguments)
                self.assertRegex(error, rb"\b%d\b" % self.holder_pid)
            self.assertEqual(self.ok("get", self.store, "a/b"), b"one")


class Damage(StoreTest):
    MARK = "needle" * 200

    def setUp(self):
        super().setUp()
        # Each value in an epoch of its own, the marked one with others before and after it.
        for i in range(5):
            self.fill({f"before/{i}": "x" * 3000})
        self.fill({"a/marked": self.MARK})
        for i in range(5):
            self.fill({f"after/{i}": "y" * 3000})

    def damage(self, offset_in_mark):
        """Changes one byte of the marked value; returns the file's name and the offset."""
        for name in os.listdir(self.store):
            path = os.path.join(self.store, name)
            with open(path, "r+b") as file:
                found = file.read().find(self.MARK.encode())
                if found < 0:
                    continue
                file.seek(found + offset_in_mark)
                byte = file.read(1)
                file.seek(found + offset_in_mark)
                file.write(bytes([byte[0] ^ 1]))
                return name, found + offset_in_mark
        raise AssertionError("the value is in no file")

    def test_verify_and_open_find_a_changed_byte(self):
        rng = announce_seed("damage")
        self.assertEqual(self.ok("verify", self.store), b"")
        intact = json.loads(self.ok("verify", "--json", self.store))
        self.assertEqual(intact, {"intact": True, "damage": []})
        name, offset = self.damage(rng.randrange(len(self.MARK)))
        done = self.run_cli("verify", self.store)
        self.assertEqual((done.returncode, done.stderr), (3, b""))
        damage_lines = re.findall(r"(?m)^(\S+): offset (\d+): (\S.*)$", done.stdout.decode())
        self.assertEqual(len(damage_lines), len(done.stdout.splitlines()))
        self.assertTrue(
            any(file == name and int(place) <= offset for file, place, _ in damage_lines),
            done.stdout,
        )
        done = self.run_cli("verify", "--json", self.store)
        self.assertEqual(done.returncode, 3)
        found = json.loads(done.stdout)
        self.assertEqual(found["intact"], False)
        self.assertEqual(
            [(item["file"], str(item["offset"]), item["kind"]) for item in found["damage"]],
            damage_lines,
        )
        for arguments in [
            ("get", self.store, "before/1"),
            ("put", self.store, "before/1", "x"),
            ("ls", self.store),
            ("stat", self.store),
            ("dump", self.store, self.path("out")),
            ("backup", self.store, self.path("copy")),
        ]:
            self.assertIn(name.encode(), self.expect(3, *arguments))
        self.assertFalse(os.path.exists(self.path("out")))

    def test_salvage_rescues_the_rest(self):
        rng = announce_seed("salvage")
        expected = self.entries()
        del expected["a/marked"]
        name, _ = self.damage(rng.randrange(len(self.MARK)))
        before = files_of(self.store)
        done = json.loads(self.ok("salvage", "--json", self.store, self.path("rescued")))
        self.assertEqual(done["intact"], False)
        self.assertIn(name, [item["file"] for item in done["damage"]])
        for item in done["damage"]:
            self.assertIsInstance(item["offset"], int)
            self.assertNotIn("offset", item["kind"])
        self.assertEqual(self.entries(self.path("rescued")), expected)
        self.assertEqual(self.ok("verify", self.path("rescued")), b"")
        self.assertEqual(files_of(self.store), before)
        self.expect(2, "salvage", self.store, self.path("rescued"))

    def test_salvage_of_an_intact_store(self):
        self.assertEqual(self.ok("salvage", self.store, self.path("rescued")), b"")
        self.assertEqual(self.entries(self.path("rescued")), self.entries())


if __name__ == "__main__":
    unittest.main()
