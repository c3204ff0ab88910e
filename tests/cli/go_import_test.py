"""Goal: `load --from-dskvs-go` brings over every intact entry of the original's directories, of all
versions, reports every other file, and changes nothing there.
Method: the vectors that the original's rules were written down with; files made here by those rules,
with Python's own SHA-1; every field of a file damaged in turn; the source compared, with its times.
"""

import hashlib
import json
import os
import struct
import unittest
import urllib.parse

from support import CliTest, announce_seed

SHA1_OF_NOTHING = hashlib.sha1(b"").digest()
VERSIONS = [(0, 1, 0), (0, 2, 0), (0, 2, 1), (0, 2, 2), (0, 3, 1), (0, 4, 1), (0, 4, 2)]
HEADER_BYTES = 36


def uvarint(data):
    """Go's binary.Uvarint: 0 when it is cut or overflows 64 bits."""
    number = 0
    for i, byte in enumerate(data):
        number |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return number if number < 1 << 64 else 0
    return 0


def current_checksum(value):
    return uvarint(hashlib.sha1(value).digest())


def old_checksum(value):
    return uvarint(value + SHA1_OF_NOTHING)


def prefix(stored):
    return urllib.parse.quote_plus(stored, safe="-_.~")[:40]


def current_name(stored):
    return prefix(stored) + hashlib.sha1(stored).hexdigest()


def old_name(stored):
    return prefix(stored) + (stored + SHA1_OF_NOTHING).hex()


def header(stored, value, version=(0, 4, 2), checksum=None):
    if checksum is None:
        checksum = current_checksum(value)
    return struct.pack(">HHQQQQ", *version, checksum, len(stored), len(value))


class GoImport(CliTest):
    def setUp(self):
        super().setUp()
        self.base = self.path("base")
        os.mkdir(self.base)

    def write(self, collection, name, content, mtime=None):
        os.makedirs(os.path.join(self.base, collection), exist_ok=True)
        path = os.path.join(self.base, collection, name)
        with open(path, "wb") as file:
            file.write(content)
        if mtime is not None:
            os.utime(path, ns=(mtime, mtime))

    def write_entry(self, collection, stored, value, name=current_name, mtime=None, **fields):
        content = header(stored, value, **fields) + stored + value
        self.write(collection, name(stored), content, mtime)

    def source_state(self):
        state = {}
        for directory, names, files in os.walk(self.base):
            for name in names + files:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                content = None
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        content = file.read()
                state[path] = (status.st_mode, status.st_mtime_ns, status.st_ctime_ns, content)
        return state

    def load(self):
        """Returns what was left out, and why, as {path: reason}."""
        before = self.source_state()
        left_out = self.load_and_check("--from-dskvs-go", self.base, self.store)
        self.assertEqual(self.source_state(), before)
        return left_out

    def entries(self):
        lines = self.ok("dump", "--ndjson", self.store).splitlines()
        entries = {}
        for line in lines:
            entry = json.loads(line)
            self.assertLessEqual(set(entry), {"key", "value"}, "these tests use text only")
            entries[entry["key"]] = entry["value"]
        self.assertEqual(self.counts["entries"], len(entries))
        self.assertEqual(
            self.counts["value_bytes"], sum(len(value.encode()) for value in entries.values())
        )
        return entries

    def test_the_vectors(self):
        content = bytes.fromhex(
            "000000040000000000000002000000000000004b000000000000000a0000000000000012"
            "2f646166745f70756e6b7b207175616c6974793a276570696327207d"
        )
        self.assertEqual(len(content), 64)
        name = "%2Fdaft_punk35ae67023afdba5c06d797d0838f9576a32244da"
        self.write("artist", name, content)
        self.assertEqual(name, current_name(b"/daft_punk"))

        name = "%2FDaft+Punk%2FDiscovery..3f7a4a2271f83a1d3f7e4012a98cdac598bb616b"
        self.assertEqual(name, current_name(b"/Daft Punk/Discovery.."))
        self.write_entry("artist", b"/Daft Punk/Discovery..", b"album")

        name = "%2F..%2F..%2Fd982b9f0592a1d3be56694e52ae4a76508d0e49b"
        self.assertEqual(name, current_name(b"/../../"))
        self.write_entry("My Collection", b"/../../", b"up")

        self.assertEqual((current_checksum(b""), old_checksum(b"")), (7386, 7386))
        self.write_entry("artist", b"/empty", b"", checksum=7386)

        self.assertEqual(self.load(), {})
        self.assertEqual(
            self.entries(),
            {
                "artist/daft_punk": "{ quality:'epic' }",
                "artist/Daft Punk/Discovery..": "album",
                "My Collection/../../": "up",
                "artist/empty": "",
            },
        )

    def test_all_versions_with_their_names_and_checksums(self):
        expected = {}
        for version in VERSIONS:
            for checksum in [current_checksum, old_checksum]:
                for name in [current_name, old_name]:
                    member = ".".join(map(str, version)) + checksum.__name__ + name.__name__
                    stored = b"/" + member.encode()
                    value = member.encode() * 3
                    self.write_entry(
                        "c", stored, value, name, version=version, checksum=checksum(value)
                    )
                    expected["c/" + member] = value.decode()
        self.write_entry("c", b"no separator", b"1", old_name, version=(0, 1, 0))
        self.write_entry("c", b"\\from windows", b"2")
        self.write_entry("c", b"//slash", b"3")
        expected.update({"c/no separator": "1", "c/from windows": "2", "c//slash": "3"})
        self.assertEqual(self.load(), {})
        self.assertEqual(self.entries(), expected)

    def test_every_length_of_key_and_value_around_a_block_of_sha1(self):
        rng = announce_seed("go import")
        expected = {}
        letters = "abc ~-_./?&=%+"
        for size in [*range(1, 135), 200, 1000, 5000]:
            member = f"{size}" + "".join(rng.choice(letters) for _ in range(size))
            value = "".join(rng.choice(letters) for _ in range(size))
            self.write_entry("c", b"/" + member.encode(), value.encode())
            expected["c/" + member] = value
        self.assertEqual(self.load(), {})
        self.assertEqual(self.entries(), expected)

    def test_checksums_that_overflow_a_varint_are_0(self):
        value = b"\xff" * 10 + b"\x01"
        self.assertEqual(old_checksum(value), 0)
        self.assertEqual(old_checksum(b"\xff" * 9 + b"\x02"), 0)
        self.assertNotEqual(old_checksum(b"\xff" * 9 + b"\x01"), 0)
        for i, value in enumerate([value, b"\xff" * 9 + b"\x02", b"\xff" * 9 + b"\x01"]):
            self.write_entry("c", b"/%d" % i, value, checksum=old_checksum(value))
        self.assertEqual(self.load(), {})
        self.assertEqual(self.counts["entries"], 3)

    def test_a_damaged_file_is_reported_and_skipped(self):
        stored, value = b"/member", b"value"
        whole = header(stored, value) + stored + value
        huge = 2**64 - 1
        size_reason = "its size is not the one in its header"

        def with_sizes(key_size, value_size):
            return whole[:20] + struct.pack(">QQ", key_size, value_size) + whole[HEADER_BYTES:]

        cases = {
            "empty": (b"", "shorter than a header"),
            "cut in the header": (whole[: HEADER_BYTES - 1], "shorter than a header"),
            "header only": (whole[:HEADER_BYTES], size_reason),
            "cut": (whole[:-1], size_reason),
            "longer": (whole + b"x", size_reason),
            "huge key": (with_sizes(huge, 5), size_reason),
            "huge value": (with_sizes(7, huge), size_reason),
            "overflowing sum": (with_sizes(huge, 13), size_reason),
            "both huge": (with_sizes(2**63 + 6, 2**63 + 6), size_reason),
            "key longer by one": (with_sizes(8, 4), "its checksum does not match"),
            "major 1": (b"\0\1" + whole[2:], "of an unknown version, 1"),
            "major 65535": (b"\xff\xff" + whole[2:], "of an unknown version, 65535"),
            "checksum": (whole[:19] + b"\1" + whole[20:], "its checksum does not match"),
            "value": (whole[:-1] + b"E", "its checksum does not match"),
            "key": (whole.replace(b"/member", b"/memBer"), "its name does not match its key"),
            "separator": (whole.replace(b"/member", b"xmember"), "its name does not match its key"),
        }
        for collection, (content, _) in cases.items():
            self.write(collection, current_name(stored), content)
        self.write("name", current_name(stored)[:-1], whole)
        self.write("other name", current_name(b"/other"), whole)
        self.write("intact", current_name(stored), whole)
        self.write_entry("no member", b"/", b"x")
        self.write_entry("no key", b"", b"x")
        expected = {collection: reason for collection, (_, reason) in cases.items()}
        expected.update({name: "its name does not match its key" for name in ["name", "other name"]})
        expected.update({name: "its key has no member" for name in ["no member", "no key"]})
        self.load()
        self.assertEqual(
            {path.strip("'").split("/")[0]: reason for path, reason in self.failed.items()},
            expected,
        )
        self.assertEqual(self.entries(), {"intact/member": "value"})

    def test_every_bit_of_a_file_matters_but_those_of_the_version(self):
        stored, value = b"/m", b"v"
        whole = header(stored, value) + stored + value
        wrong = 0
        for bit in range(len(whole) * 8):
            content = bytearray(whole)
            content[bit // 8] ^= 1 << bit % 8
            self.write(f"c{bit}", current_name(stored), bytes(content))
            wrong += not 16 <= bit < 96
        self.load()
        self.assertEqual(len(self.failed), wrong)
        self.assertEqual(self.counts["entries"], 80)

    def test_of_duplicates_the_current_name_wins_then_the_newer(self):
        newer, older = 2_000_000_000_000_000_001, 2_000_000_000_000_000_000
        # The old name is newer, and yet an older copy.
        self.write_entry("a", b"/m", b"old rule", old_name, newer)
        self.write_entry("a", b"/m", b"current rule", current_name, older)
        # Two current names for one member, by different separators.
        self.write_entry("b", b"/m", b"newer", mtime=newer)
        self.write_entry("b", b"\\m", b"older", mtime=older)
        self.write_entry("c", b"/m", b"older", mtime=older)
        self.write_entry("c", b"\\m", b"newer", mtime=newer)
        # A damaged copy hides no intact one.
        self.write_entry("d", b"/m", b"intact", old_name, older)
        self.write_entry("d", b"/m", b"damaged", current_name, newer, checksum=1)
        self.load()
        self.assertEqual(
            self.entries(),
            {"a/m": "current rule", "b/m": "newer", "c/m": "newer", "d/m": "intact"},
        )
        self.assertEqual(list(self.failed.values()), ["its checksum does not match"])
        self.assertEqual(len(self.skipped), 3)
        for reason in self.skipped.values():
            self.assertTrue(reason.startswith("an older copy of "), reason)

    def test_what_the_original_did_not_put_there(self):
        self.write("c", "note.txt", b"not of the original" * 10)
        self.write_entry("c", b"/m", b"v")
        self.write("c/deeper", current_name(b"/m"), header(b"/m", b"v") + b"/mv")
        with open(os.path.join(self.base, "at the top"), "wb") as file:
            file.write(header(b"/m", b"v") + b"/mv")
        os.symlink(current_name(b"/m"), os.path.join(self.base, "c", "link"))
        os.symlink("c", os.path.join(self.base, "linked"))
        os.mkfifo(os.path.join(self.base, "c", "pipe"))
        place = "not where the original puts its files"
        self.load()
        self.assertEqual(set(self.failed.pop("c/note.txt").split()[:2]), {"of", "an"})
        self.assertEqual(
            self.failed, {"'at the top'": place, "c/deeper/" + current_name(b"/m"): place}
        )
        self.assertEqual(
            self.skipped,
            {"c/link": "a symbolic link", "linked": "a symbolic link", "c/pipe": "a pipe"},
        )
        self.assertEqual(self.entries(), {"c/m": "v"})

    def test_a_store_within_the_source_is_refused(self):
        self.write_entry("c", b"/m", b"v")
        os.mkdir(os.path.join(self.base, "empty"))
        os.symlink(self.base, self.path("link"))
        os.symlink(os.path.join(self.base, "c"), self.path("inner"))
        before = self.source_state()
        for base in [self.base, self.path("link"), os.path.join(self.path("inner"), "..")]:
            for store in [
                self.base,
                os.path.join(self.base, ""),
                os.path.join(self.base, "new"),
                os.path.join(self.base, "new", ""),
                os.path.join(self.base, "empty"),
                os.path.join(self.base, "c", "new"),
                self.path("link"),
                self.path("link", "new"),
                self.path("inner"),
                self.path("inner", "new"),
                self.path("inner", "..", "new"),
                self.path("base", "c", "..", "..", "base", "new"),
            ]:
                with self.subTest(base=base, store=store):
                    self.expect(2, "load", "--from-dskvs-go", base, store)
        for base, store in [(".", "new"), (".", "."), ("c/..", "./c"), ("../base", "../base/c/x")]:
            with self.subTest(base=base, store=store):
                self.expect(2, "load", "--from-dskvs-go", base, store, cwd=self.base)
        self.assertEqual(self.source_state(), before)
        self.store = self.path("base-but-longer")
        self.assertEqual(self.load(), {})
        self.ok("load", "--from-dskvs-go", ".", "../beside", cwd=self.base)


if __name__ == "__main__":
    unittest.main()
