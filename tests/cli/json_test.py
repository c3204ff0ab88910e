"""Goal: JSON lines carry every key and value there and back, and nothing malformed gets in.
Method: random bytes and every interesting code point through load and dump, each line read by
Python's own JSON reader as a second opinion; a table of malformed lines, each refused with its line
number and with the lines before it loaded.
"""

import base64
import json
import unittest

from support import CliTest, announce_seed


def field(name, content):
    """As json.dumps writes it: other escapes than the tool's own."""
    try:
        return {name: content.decode("utf-8")}
    except UnicodeDecodeError:
        return {name + "_base64": base64.b64encode(content).decode()}


def line_of(key, value, **options):
    return json.dumps({**field("key", key), **field("value", value)}, **options).encode()


def entry_of(line):
    fields = json.loads(line.decode("utf-8"))

    def take(name):
        if name in fields:
            return fields.pop(name).encode("utf-8")
        return base64.b64decode(fields.pop(name + "_base64"), validate=True)

    entry = take("key"), take("value")
    assert not fields, fields
    return entry


class RoundTrip(CliTest):
    def load(self, lines):
        self.ok("load", "--ndjson", self.store, input=lines)

    def dump(self):
        printed = self.ok("dump", "--ndjson", self.store)
        self.assertTrue(printed.endswith(b"\n") or not printed)
        return dict(entry_of(line) for line in printed.split(b"\n")[:-1])

    def test_random_bytes(self):
        rng = announce_seed("json round trip")

        def random_bytes(sizes):
            alphabet = rng.choice([bytes(range(256)), b"\xc3\xa9\xe2\x82\xacab", b'"\\/\n\0\x1f\x7f'])
            return bytes(rng.choice(alphabet) for _ in range(rng.choice(sizes)))

        entries = {
            b"c%d/" % rng.randint(0, 3) + random_bytes(range(1, 30)): random_bytes([0, 1, 7, 300])
            for _ in range(2000)
        }
        for ascii_only in [True, False]:
            self.load(b"\n".join(line_of(*e, ensure_ascii=ascii_only) for e in entries.items()))
            self.assertEqual(self.dump(), entries)
            self.ok("rm", "--collection", self.store, "c0", "c1", "c2", "c3")
        self.load(b"\n".join(line_of(*entry) for entry in entries.items()))
        again = self.path("again")
        self.ok("load", "--ndjson", "-", again, input=self.ok("dump", "--ndjson", self.store, "-"))
        self.assertEqual(self.ok("dump", "--ndjson", again), self.ok("dump", "--ndjson", self.store))

    def test_every_byte_and_every_edge_of_utf8(self):
        points = [0, 0x1F, 0x20, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, 0x10000]
        texts = [chr(point).encode() for point in points + [0x10FFFF, 0x2028]]
        not_texts = [bytes([byte]) for byte in range(0x80, 0x100)] + [
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xe2\x82",
            b"\xf0\x9f\x98",
            b"a\xc3",
            b"\xc3\xa9\xff",
        ]
        entries = {b"t/" + text: text for text in texts + not_texts}
        entries.update({b"b/%d" % byte: bytes([byte]) for byte in range(256)})
        self.load(b"\n".join(line_of(*entry) for entry in entries.items()))
        self.assertEqual(self.dump(), entries)
        for line in self.ok("dump", "--ndjson", self.store).split(b"\n")[:-1]:
            fields = json.loads(line)
            key = entry_of(line)[0]
            self.assertEqual("key" in fields, key[2:] in texts or key[:1] == b"b")

    def test_no_control_character_reaches_a_terminal(self):
        controls = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
        text = f"ÿ{controls}\u00a0\u00e9"
        self.load(line_of(b"a/" + text.encode(), text.encode()))
        self.ok("put", self.store, "\u0085c/m", "")
        for arguments in [("dump", "--ndjson"), ("ls", "--json")]:
            printed = self.ok(*arguments, self.store).decode()
            self.assertEqual([c for c in printed if c in controls and c != "\n"], [], arguments)
            self.assertIn(r"\u0085", printed)
        self.assertEqual(self.dump()[b"a/" + text.encode()], text.encode())

    def test_json_written_by_others(self):
        for line, key, value in [
            (rb'{"value":"v","key":"a/b"}', b"a/b", b"v"),
            (b' \t{ "key" : "a/b" ,\r "value" : "v" } \r', b"a/b", b"v"),
            (rb'{"key": "a\/b", "value": "\b\f\n\r\t\"\\\/"}', b"a/b", b'\b\f\n\r\t"\\/'),
            (rb'{"key": "\u0061\u002Fb", "value": "\uD83D\ude00"}', b"a/b", "😀".encode()),
            (rb'{"key_base64": "YS9i", "value_base64": "dg=="}', b"a/b", b"v"),
            (rb'{"key": "a/b", "value_base64": ""}', b"a/b", b""),
            (rb'{"\u006bey": "a/b", "value": "\u0000"}', b"a/b", b"\0"),
        ]:
            with self.subTest(line=line):
                self.load(line)
                self.assertEqual(self.dump(), {key: value})

    def test_lines_end_as_lines_do(self):
        one, two = line_of(b"a/1", b"1"), line_of(b"a/2", b"2")
        entries = {b"a/1": b"1", b"a/2": b"2"}
        for lines in [
            one + b"\n" + two,
            one + b"\n" + two + b"\n",
            one + b"\r\n\r\n" + two + b"\r\n",
            b"\n\n  \n" + one + b"\n\n" + two + b"\n\n",
        ]:
            self.load(lines)
            self.assertEqual(self.dump(), entries)
            self.ok("rm", "--collection", self.store, "a")
        self.load(b"")
        self.assertEqual(self.dump(), {})

    def test_long_lines(self):
        rng = announce_seed("long lines")
        entries = {b"a/%d" % size: rng.randbytes(size) for size in [786_000, 1 << 20, 5_000_001]}
        entries[b"a/text"] = b"x" * (3 << 20)
        self.load(b"\n".join(line_of(*entry) for entry in entries.items()))
        self.assertEqual(self.dump(), entries)

    def test_from_a_file(self):
        with open(self.path("lines"), "wb") as file:
            file.write(line_of(b"a/b", b"v"))
        done = self.ok("load", "--json", "--ndjson", self.path("lines"), self.store)
        self.assertEqual(json.loads(done), {"entries": 1, "value_bytes": 1, "skipped": 0, "failed": 0})
        self.assertEqual(self.dump(), {b"a/b": b"v"})
        self.expect(5, "load", "--ndjson", self.path("missing"), self.path("other"))


class Malformed(CliTest):
    LINES = [
        b"null",
        b"[]",
        b"{}",
        b"{",
        b'{"key": "a/b"}',
        b'{"value": "v"}',
        b'{"key": "a/b", "value": 1}',
        b'{"key": "a/b", "value": null}',
        b'{"key": "a/b", "value": {"x": "y"}}',
        b'{"key": "a/b", "value": "v", }',
        b'{"key": "a/b" "value": "v"}',
        b'{"key": "a/b", "value": "v"',
        b'{"key": "a/b", "value": "v',
        b'{"key": "a/b", "value": "v"}}',
        b'{"key": "a/b", "value": "v"} x',
        b'{"key": "a/b", "value": "v"}{"key": "a/b", "value": "v"}',
        b'{"key": "a/b", "key": "a/c", "value": "v"}',
        b'{"key": "a/b", "key_base64": "YS9i", "value": "v"}',
        b'{"key": "a/b", "value": "v", "value": "v"}',
        b'{"key": "a/b", "value": "v", "more": "x"}',
        b'{"keys": "a/b", "value": "v"}',
        b'{"key_": "a/b", "value": "v"}',
        b"{'key': 'a/b', 'value': 'v'}",
        b'{key: "a/b", "value": "v"}',
        rb'{"key": "a/b", "value": "\x"}',
        rb'{"key": "a/b", "value": "\u12"}',
        rb'{"key": "a/b", "value": "\u00g0"}',
        rb'{"key": "a/b", "value": "\ud83d"}',
        rb'{"key": "a/b", "value": "\ud83dx"}',
        rb'{"key": "a/b", "value": "\ud83d\u0041"}',
        rb'{"key": "a/b", "value": "\ude00"}',
        b'{"key": "a/b", "value": "\t"}',
        b'{"key": "a/b", "value": "\0"}',
        b'{"key": "a/b", "value": "\xff"}',
        b'{"key": "a/b", "value": "\xed\xa0\x80"}',
        b'{"key": "a/b", "value_base64": "dg"}',
        b'{"key": "a/b", "value_base64": "dg=v"}',
        b'{"key": "a/b", "value_base64": "dg==dg=="}',
        b'{"key": "a/b", "value_base64": "dh=="}',
        b'{"key": "a/b", "value_base64": "d-_="}',
        b'{"key": "a/b", "value_base64": "====" }',
        b'\xef\xbb\xbf{"key": "a/b", "value": "v"}',
    ]

    def test_a_malformed_line_is_named_and_ends_the_load(self):
        for i, line in enumerate(self.LINES):
            with self.subTest(line=line):
                store = self.path(f"store{i}")
                lines = b'{"key": "a/1", "value": "1"}\n\n' + line + b'\n{"key": "a/2", "value": "2"}'
                error = self.expect(5, "load", "--ndjson", "-", store, input=lines)
                self.assertIn(b"standard input: line 3: ", error)
                self.assertEqual(self.ok("dump", "--ndjson", store), b'{"key": "a/1", "value": "1"}\n')

    def test_a_key_that_breaks_a_rule_is_named_by_its_line(self):
        for key in [b"", b"a", b"a/", b"/a", b"a/" + b"x" * 65534]:
            lines = line_of(b"a/1", b"1") + b"\n" + line_of(key, b"v")
            error = self.expect(2, "load", "--ndjson", self.store, input=lines)
            self.assertIn(b"standard input: line 2: ", error)

    def test_a_file_is_named(self):
        with open(self.path("lines"), "wb") as file:
            file.write(b"{}")
        error = self.expect(5, "load", "--ndjson", self.path("lines"), self.store)
        self.assertIn(self.path("lines").encode() + b": line 1: ", error)


if __name__ == "__main__":
    unittest.main()
