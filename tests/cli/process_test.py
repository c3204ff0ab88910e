"""Goal: the tool behaves as a program in a pipeline and on a terminal: no output is lost silently, no
closed descriptor reaches the store's files, progress is for people only, signals end it.
Method: full and closed outputs, pipes whose reader is gone, a pseudo-terminal, signals in mid-load;
and the manual page is compared with what --help says.
"""

import contextlib
import glob
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import unittest

from support import CLI, CliTest, wait_until

MANUAL = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "man", "dskvs.1")


class Output(CliTest):
    def setUp(self):
        super().setUp()
        self.ok("put", self.store, "a/b", input=b"x" * 1_000_000)
        self.readers = [
            ("get", self.store, "a/b"),
            ("get", "--json", self.store, "a/b"),
            ("ls", self.store),
            ("ls", self.store, "a"),
            ("dump", "--ndjson", self.store),
            ("stat", self.store),
            ("verify", "--json", self.store),
            ("watch", "--count", "1", self.store),
            ("--help",),
            ("ls", "--help"),
            ("--version",),
        ]

    def test_a_full_disk_is_an_error(self):
        with open("/dev/full", "wb") as full:
            for arguments in self.readers:
                with self.subTest(arguments=arguments):
                    done = self.run_cli(*arguments, stdout=full)
                    self.assertEqual(done.returncode, 5)
                    self.assertRegex(
                        done.stderr, rb"\Adskvs: .*standard output: No space left on device\n\Z"
                    )

    def test_a_closed_output_is_an_error(self):
        for arguments in self.readers:
            with self.subTest(arguments=arguments):
                done = subprocess.run(
                    ["bash", "-c", '"$@" >&-', "bash", CLI, *arguments], capture_output=True
                )
                self.assertEqual(done.returncode, 5)
                self.assertIn(b"standard output", done.stderr)

    def run_into_closed_pipe(self, arguments, **options):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return self.run_cli(*arguments, stdout=writing, **options)
        finally:
            os.close(writing)

    def test_a_reader_that_went_away(self):
        for arguments in self.readers:
            with self.subTest(arguments=arguments):
                done = self.run_into_closed_pipe(arguments)
                self.assertEqual(done.returncode, -signal.SIGPIPE)
                # restore_signals=False: the child inherits that Python ignores SIGPIPE.
                done = self.run_into_closed_pipe(arguments, restore_signals=False)
                self.assertEqual(done.returncode, 5)
                self.assertIn(b"Broken pipe", done.stderr)

    def test_closed_descriptors_never_reach_the_store(self):
        for redirection in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]:
            with self.subTest(redirection=redirection):
                done = subprocess.run(
                    ["bash", "-c", f'"$@" {redirection}', "bash", CLI, "put", self.store, "c/d", "v"],
                    capture_output=True,
                )
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
                for command in ["get", "rm"]:
                    done = subprocess.run(
                        ["bash", "-c", f'"$@" {redirection}', "bash", CLI, command, self.store, "c/x"],
                        capture_output=True,
                    )
                    self.assertEqual((done.returncode, done.stdout), (1, b""))
                self.assertEqual(self.ok("verify", self.store), b"")
                self.assertEqual(self.ok("get", self.store, "c/d"), b"v")

    def test_a_closed_input_is_an_error(self):
        for arguments in [("put", self.store, "c/d"), ("load", "--ndjson", self.store)]:
            done = subprocess.run(
                ["bash", "-c", '"$@" <&-', "bash", CLI, *arguments], capture_output=True
            )
            self.assertEqual(done.returncode, 5)
            self.assertIn(b"standard input: Bad file descriptor", done.stderr)

    def test_tools_in_a_pipeline(self):
        script = '''
            set -euo pipefail
            "$0" get "$1" a/b | "$0" put "$1" a/copy
            "$0" dump --ndjson "$1" | "$0" load --ndjson - "$2"
            "$0" ls -0 "$2" a | while IFS= read -r -d "" member; do
              "$0" get "$2" "a/$member" | cmp - <("$0" get "$1" a/b)
            done'''
        subprocess.run(["bash", "-c", script, CLI, self.store, self.path("copy")], check=True)
        self.assertEqual(len(self.ok("ls", self.path("copy"), "a").splitlines()), 2)


class Terminal(CliTest):
    @contextlib.contextmanager
    def on_terminal(self, *arguments):
        """Runs the tool with a terminal as stderr; yields process, and what the terminal shows."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [CLI, *arguments], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=theirs
        )
        os.close(theirs)
        shown = bytearray()

        def read():
            while select.select([ours], [], [], 0)[0]:
                try:
                    shown.extend(os.read(ours, 65536))
                except OSError:  # the terminal's other side is closed
                    break
            return bytes(shown)

        try:
            yield process, read
        finally:
            process.stdin.close()
            process.wait(timeout=60)
            os.close(ours)

    def feed(self, process, read, lines):
        """Feeds lines until the terminal shows something."""
        started = time.monotonic()
        sent = 0

        def feed_one():
            nonlocal sent
            process.stdin.write(lines)
            process.stdin.flush()
            sent += 1
            return read() != b""

        wait_until(feed_one, "a progress bar")
        return time.monotonic() - started

    def test_progress_on_a_terminal_after_half_a_second(self):
        with self.on_terminal("load", "--ndjson", "-", self.store) as (process, read):
            elapsed_s = self.feed(process, read, b'{"key": "a/b", "value": "v"}\n' * 100)
            self.assertGreaterEqual(elapsed_s, 0.4)
            process.stdin.close()
            self.assertEqual(process.wait(timeout=60), 0)
            text = read().decode()
        self.assertRegex(text, r"load  [\d.]+ (B|KiB|MiB)  [\d.]+ (B|KiB|MiB)/s")
        # Gone in the end: the line is cleared and nothing else is left.
        self.assertTrue(text.endswith("\r\x1b[K"))
        self.assertNotIn("\n", text)

    def test_a_known_total_gives_percent_and_time_left(self):
        with open(self.path("lines"), "wb") as file:
            file.write(b'{"key": "a/first", "value": ""}\n')
            file.write(b'{"key": "a/b", "value": "%s"}\n' % (b"v" * 1000) * 50_000)
        arguments = ["load", "--ndjson", self.path("lines"), self.store]

        def shows_time_left():
            # Held up in mid-load, so that half a second goes by on any machine. When the load had
            # ended by then, once more.
            shutil.rmtree(self.store, ignore_errors=True)
            with self.on_terminal(*arguments) as (process, read):
                while process.poll() is None and not glob.glob(self.store + "/*.dskvs"):
                    pass  # to be there soon after the first put
                process.send_signal(signal.SIGSTOP)
                time.sleep(0.6)
                process.send_signal(signal.SIGCONT)
                self.assertEqual(process.wait(timeout=60), 0)
                text = read().decode()
            return re.search(r"load  \[[#-]{24}\] +\d+%  .* of .*/s  ETA \d+:\d\d", text)

        wait_until(shows_time_left, "percent and time left")

    def test_quick_commands_show_no_progress(self):
        with self.on_terminal("put", self.store, "a/b", "v") as (process, read):
            self.assertEqual(process.wait(timeout=60), 0)
            self.assertEqual(read(), b"")

    def test_a_warning_has_a_line_of_its_own(self):
        os.makedirs(self.path("tree", "a"))
        os.symlink("x", self.path("tree", "a", "link"))
        with self.on_terminal("load", self.path("tree"), self.store) as (process, read):
            self.assertEqual(process.wait(timeout=60), 0)
            self.assertEqual(
                read().replace(b"\r\n", b"\n"),
                b"dskvs: load: skipped a/link: a symbolic link\n"
                b"dskvs: load: 0 loaded, 1 skipped, 0 failed\n",
            )


class Signals(CliTest):
    def test_a_load_ends_with_the_signal_and_the_store_opens_again(self):
        for number in [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]:
            process = subprocess.Popen(
                [CLI, "load", "--ndjson", "-", self.store], stdin=subprocess.PIPE
            )
            process.stdin.write(b'{"key": "a/%d", "value": "v"}\n' % number)
            process.stdin.flush()
            wait_until(
                lambda: self.run_cli("get", self.store, f"a/{number}").stdout == b"v", "the entry"
            )
            process.send_signal(number)
            self.assertEqual(process.wait(timeout=60), -number)
            process.stdin.close()
            self.ok("put", self.store, "b/c", "still here")
            self.assertEqual(self.ok("get", self.store, f"a/{number}"), b"v")


class Manual(CliTest):
    def test_the_manual_page_has_every_command_and_option(self):
        with open(MANUAL, encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        commands = re.findall(r"(?m)^  (\w+) ", self.ok("--help").decode())
        self.assertGreater(len(commands), 10)
        for command in commands:
            section = re.search(rf"(?ms)^\.SS {command}\n(.*?)(?=^\.S[SH] )", manual)
            self.assertIsNotNone(section, command)
            help_text = self.ok(command, "--help").decode()
            for option in re.findall(r"(?m)^  .*?--([a-z0-9-]+)", help_text):
                if option != "help":
                    self.assertIn(f"--{option}", section[1], command)
            # A common option, as the page has it.
            self.assertRegex(help_text, r"(?m)^ +--json ", command)


if __name__ == "__main__":
    unittest.main()
