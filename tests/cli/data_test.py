"""Goal: get, put, rm and ls carry any bytes, refuse what is wrong, and exit with the promised code.
Method: the tool is run as a shell would run it, on stores of its own, with values and keys from a
random generator; a table of wrong usage; the shell itself reads quoted names back.
"""

import base64
import json
import os
import subprocess
import unittest

from support import CliTest, announce_seed

BAD_KEYS = ["", "..", "../", ".", "./", "/a member", "acoll/", "x", "x/", "/", "/x"]


class Values(CliTest):
    def test_a_value_is_an_argument_or_standard_input(self):
        for value, arguments, stdin in [
            (b"house", ["house"], b"not this"),
            (b"", [""], b"not this"),
            (b"piped", [], b"piped"),
            (b"dashed", ["-"], b"dashed"),
            (b"", ["-"], b""),
            (b"-5", ["--", "-5"], b""),
        ]:
            with self.subTest(value=value, arguments=arguments):
                if arguments[:1] == ["--"]:
                    self.ok("put", "--", self.store, "a/b", arguments[1])
                else:
                    self.ok("put", self.store, "a/b", *arguments, input=stdin)
                self.assertEqual(self.ok("get", self.store, "a/b"), value)

    def test_any_bytes_come_out_as_they_went_in(self):
        rng = announce_seed("values")
        for size in [0, 1, 2, 4095, 4096, 4097, 65535, 65536, 65537, 3_000_000]:
            value = rng.randbytes(size)
            self.ok("put", self.store, "a/b", input=value)
            self.assertEqual(self.ok("get", self.store, "a/b"), value)

    def test_any_key_that_a_shell_can_pass(self):
        rng = announce_seed("keys")
        letters = bytes(range(1, 256))
        keys = [b"a/" + bytes(rng.choice(letters) for _ in range(n)) for n in range(1, 40)]
        keys += ["größe/ключ 鍵".encode(), b"a/\n", b"-/-", b"x//", b"../..", b"a/b/c"]
        for key in keys:
            with self.subTest(key=key):
                self.ok("put", "--", self.store, key, b"value of " + key)
                self.assertEqual(self.ok("get", "--", self.store, key), b"value of " + key)
                self.ok("rm", "--", self.store, key)
                self.expect(1, "get", "--", self.store, key)

    def test_keys_in_base64_may_hold_a_nul_and_be_as_long_as_keys_get(self):
        for key in [b"a/\0", b"\0/\0\0", b"a/" + b"m" * 65533]:
            encoded = base64.b64encode(key)
            self.ok("put", "--key-base64", self.store, encoded, "x")
            self.assertEqual(self.ok("get", "--key-base64", self.store, encoded), b"x")
            self.ok("rm", "--key-base64", self.store, encoded)
            self.expect(1, "get", "--key-base64", self.store, encoded)
        too_long = base64.b64encode(b"a/" + b"m" * 65534)
        self.expect(2, "put", "--key-base64", self.store, too_long, "x")
        for wrong in ["YS9i=", "YS9i====", "YS9", "YS 9i", "YS9iY=", "YS9iYR==", "Y=Q=", "YS9i\n"]:
            self.expect(2, "put", "--key-base64", self.store, wrong, "x")
        self.assertEqual(self.ok("ls", self.store), b"")

    def test_what_is_not_there_is_exit_code_1(self):
        self.ok("put", self.store, "a/b", "x")
        for arguments in [
            ("get", self.store, "a/c"),
            ("get", self.store, "c/b"),
            ("get", "--json", self.store, "a/c"),
            ("rm", self.store, "a/c"),
            ("rm", "--collection", self.store, "c"),
            ("ls", self.store, "c"),
        ]:
            self.assertIn(b"not found", self.expect(1, *arguments))

    def test_a_key_that_breaks_a_rule_is_exit_code_2(self):
        self.ok("put", self.store, "a/b", "x")
        for key in BAD_KEYS:
            for command in ["get", "put", "rm"]:
                with self.subTest(key=key, command=command):
                    self.expect(2, command, self.store, key)
        self.expect(2, "ls", self.store, "a/")
        self.expect(2, "rm", "--collection", self.store, "a/b")
        self.assertEqual(self.ok("ls", self.store), b"1\ta\n")

    def test_what_is_refused_leaves_no_store_behind(self):
        for key in BAD_KEYS:
            with self.subTest(key=key):
                self.expect(2, "put", self.store, key, "v")
                self.assertEqual(os.listdir(self.directory), [])
        for key in [b"a", b"a/" + b"m" * 65534]:
            self.expect(2, "put", "--key-base64", self.store, base64.b64encode(key), "v")
        line = b'{"key": "a/b", "value": "v"}'
        for code, lines in [(5, b"nonsense"), (5, b"\n{}\n" + line), (2, line.replace(b"/", b"."))]:
            with self.subTest(lines=lines):
                self.expect(code, "load", "--ndjson", self.store, input=lines)
                self.expect(code, "load", "-", self.store, input=lines)
        self.assertEqual(os.listdir(self.directory), [])
        self.ok("load", "--ndjson", self.store, input=b"\n")
        self.assertEqual(self.ok("ls", self.store), b"")

    def test_reading_creates_no_store(self):
        for arguments in [
            ("get", self.store, "a/b"),
            ("ls", self.store),
            ("rm", self.store, "a/b"),
            ("dump", self.store, self.path("out")),
            ("dump", "--ndjson", self.store),
            ("stat", self.store),
            ("verify", self.store),
            ("compact", self.store),
            ("watch", "--count", "1", self.store),
            ("backup", self.store, self.path("out")),
            ("salvage", self.store, self.path("out")),
        ]:
            self.expect(2, *arguments)
        self.assertEqual(subprocess.check_output(["ls", "-A", self.directory]), b"")

    def test_get_as_json(self):
        self.ok("put", self.store, "a/b", '"quoted"\n')
        self.assertEqual(
            json.loads(self.ok("get", "--json", self.store, "a/b")),
            {"key": "a/b", "value": '"quoted"\n'},
        )


    def test_put_as_json(self):
        printed = self.ok("put", "--json", self.store, "a/b", "value")
        self.assertEqual(json.loads(printed), {"key": "a/b", "value_size": 5})
        self.assertEqual(printed.count(b"\n"), 1)
        printed = self.ok("put", "--json", self.store, b"a/\xff", input=b"")
        key = base64.b64encode(b"a/\xff").decode()
        self.assertEqual(json.loads(printed), {"key_base64": key, "value_size": 0})
        self.expect(2, "put", "--json", self.store, "a", "value")


class Removal(CliTest):
    def test_rm_takes_many_and_reports_those_that_are_missing(self):
        for member in "abcd":
            self.ok("put", self.store, f"x/{member}", member)
        self.ok("rm", self.store, "x/a", "x/b")
        done = self.run_cli("rm", self.store, "x/missing", "x/c", "x/gone")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            done.stderr, b"dskvs: rm: x/missing: not found\ndskvs: rm: x/gone: not found\n"
        )
        self.assertEqual(self.ok("ls", self.store, "x"), b"1\td\n")

    def test_rm_of_collections(self):
        for key in ["x/a", "x/b", "y/a", "z/a"]:
            self.ok("put", self.store, key, "1")
        self.ok("rm", "--collection", self.store, "x", "z")
        self.assertEqual(self.ok("ls", self.store), b"1\ty\n")


    def test_rm_as_json(self):
        def removed(code, *arguments):
            done = self.run_cli("rm", "--json", *arguments)
            self.assertEqual(done.returncode, code, done.stderr)
            return json.loads(done.stdout)

        for key in ["x/a", "x/b", "x/c", "y/a"]:
            self.ok("put", self.store, key, "1")
        self.assertEqual(removed(0, self.store, "x/a"), {"removed": 1, "not_found": 0})
        self.assertEqual(removed(1, self.store, "x/a", "x/b"), {"removed": 1, "not_found": 1})
        self.assertEqual(
            removed(1, "--collection", self.store, "x", "y", "z"), {"removed": 2, "not_found": 1}
        )


class Listing(CliTest):
    def test_collections_and_members_in_the_order_of_their_bytes(self):
        for key, value in [("b/2", "xx"), ("b/10", ""), ("a/1", "1"), ("B/x", "x")]:
            self.ok("put", self.store, key, value)
        self.assertEqual(self.ok("ls", self.store), b"1\tB\n1\ta\n2\tb\n")
        self.assertEqual(self.ok("ls", self.store, "b"), b"0\t10\n2\t2\n")
        self.assertEqual(
            [json.loads(line) for line in self.ok("ls", "--json", self.store).splitlines()],
            [
                {"collection": "B", "members": 1},
                {"collection": "a", "members": 1},
                {"collection": "b", "members": 2},
            ],
        )
        self.assertEqual(
            [json.loads(line) for line in self.ok("ls", "--json", self.store, "b").splitlines()],
            [{"member": "10", "value_size": 0}, {"member": "2", "value_size": 2}],
        )
        self.assertEqual(self.ok("ls", "-0", self.store, "b"), b"10\x002\x00")

    def test_what_ls_prints_a_shell_reads_back(self):
        rng = announce_seed("quoting")
        letters = bytes(range(1, 256))
        names = {bytes(rng.choice(letters) for _ in range(rng.randint(1, 20))) for _ in range(60)}
        names |= {bytes([byte]) for byte in letters}
        names |= {"naïve café".encode(), "\u0085".encode(), b"it's", b"\x1b[31mred", b"$(rm)"}
        lines = b"".join(
            b'{"key_base64": "%s", "value": ""}\n' % base64.b64encode(b"c/" + name)
            for name in names
        )
        self.ok("load", "--ndjson", self.store, input=lines)
        printed = self.ok("ls", self.store, "c")
        self.assertEqual([byte for byte in printed if byte < 0x20 and byte not in b"\t\n"], [])
        words = [line.split(b"\t", 1)[1] for line in printed.splitlines()]
        script = b"printf '%s\\0' " + b" ".join(words)
        read_back = subprocess.run(
            ["bash"], input=script, stdout=subprocess.PIPE, check=True
        ).stdout
        self.assertEqual(read_back.split(b"\0")[:-1], sorted(names))
        self.assertEqual(self.ok("ls", "--null", self.store, "c"), read_back)
        names_in_json = {
            base64.b64decode(item["member_base64"])
            if "member_base64" in item
            else item["member"].encode()
            for item in map(json.loads, self.ok("ls", "--json", self.store, "c").split(b"\n")[:-1])
        }
        self.assertEqual(names_in_json, names)

    def test_a_store_without_entries(self):
        self.ok("put", self.store, "a/b", "")
        self.ok("rm", self.store, "a/b")
        for arguments in [("ls",), ("ls", "-0"), ("ls", "--json"), ("dump", "--ndjson")]:
            self.assertEqual(self.ok(*arguments, self.store), b"")


class Usage(CliTest):
    def test_wrong_usage_is_exit_code_2(self):
        for arguments in [
            (),
            ("nonsense",),
            ("get",),
            ("get", "s"),
            ("get", "s", "a/b", "c"),
            ("get", "--nonsense", "s", "a/b"),
            ("get", "-x", "s", "a/b"),
            ("get", "-json", "s", "a/b"),
            ("get", "--json=yes", "s", "a/b"),
            ("put", "s"),
            ("put", "s", "a/b", "c", "d"),
            ("rm", "s"),
            ("ls",),
            ("ls", "--null", "--json", "s"),
            ("load", "s"),
            ("load", "--ndjson", "--from-dskvs-go", "d", "s"),
            ("dump", "s"),
            ("dump", "--ndjson", "s", "out"),
            ("stat",),
            ("backup", "s"),
            ("salvage", "s"),
            ("bench", "s"),
            ("bench", "--seconds", "0"),
            ("bench", "--seconds", "nan"),
            ("watch", "--interval", "-1", "s"),
            ("watch", "--interval", "1s", "s"),
            ("watch", "--interval", "", "s"),
            ("watch", "--interval"),
            ("watch", "--count", "1.5", "s"),
        ]:
            with self.subTest(arguments=arguments):
                self.expect(2, *arguments, cwd=self.directory)

    def test_help_and_version(self):
        general = self.ok("--help").decode()
        self.assertRegex(self.ok("--version"), rb"\Adskvs \d+\.\d+\.\d+\n\Z")
        commands = "get put rm ls load dump stat verify compact backup salvage bench watch".split()
        for command in commands:
            with self.subTest(command=command):
                self.assertRegex(general, rf"(?m)^  {command} ")
                help_text = self.ok(command, "--help").decode()
                self.assertTrue(help_text.startswith(f"usage: dskvs {command} "))
                self.assertEqual(self.ok(command, "-h").decode(), help_text)

    def test_a_place_that_is_no_store_is_exit_code_2(self):
        with open(self.path("file"), "w") as file:
            file.write("not a store")
        for place in [self.path("file"), self.path("missing", "parent")]:
            self.expect(2, "put", place, "a/b", "x")
            self.expect(2, "get", place, "a/b")


if __name__ == "__main__":
    unittest.main()
