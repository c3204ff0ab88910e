"""What the tests of the command line share: running the tool, a directory of their own, seeds.

Only Python's standard library: the tests run wherever the tool was built, sanitizers included.
DSKVS_CLI names the tool; DSKVS_SEED replays a random test.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
import unittest

CLI = os.environ.get("DSKVS_CLI") or shutil.which("dskvs")
TIMEOUT_S = 60


def announce_seed(test):
    """A random generator whose seed is printed, so that a failure can be replayed."""
    seed = int(os.environ.get("DSKVS_SEED") or random.SystemRandom().getrandbits(32))
    print(f"{test}: DSKVS_SEED={seed}", flush=True)
    return random.Random(seed)


def wait_until(condition, what):
    """Polls; a condition that never comes is a failure and not a hang."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {TIMEOUT_S} s: {what}")
        time.sleep(0.01)


def reports(done, opening):
    """The lines "OPENING PATH: REASON" on stderr, as {path: reason}."""
    lines = done.stderr.decode().splitlines()
    return dict(
        line[len(opening) + 1 :].split(": ", 1) for line in lines if line.startswith(opening + " ")
    )


class CliTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.assertIsNotNone(CLI, "DSKVS_CLI names no tool")
        self.directory = tempfile.mkdtemp(prefix="dskvs-cli-test-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.store = self.path("store")

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def run_cli(self, *arguments, input=b"", as_mortal=False, **options):
        """Runs the tool and returns what became of it.

        `as_mortal` takes root's right to read and write everything away.
        """
        if "stdin" not in options:
            options["input"] = input
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        mortal = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
        prefix = mortal if as_mortal and os.geteuid() == 0 else []
        return subprocess.run([*prefix, CLI, *arguments], timeout=TIMEOUT_S, **options)

    def expect(self, exit_code, *arguments, **options):
        """Runs the tool, checks its exit code, and returns its standard output.

        A failure has exactly one line on stderr, which names the tool, and nothing on stdout; a
        success has nothing on stderr.
        """
        done = self.run_cli(*arguments, **options)
        self.assertEqual(done.returncode, exit_code, (arguments, done.stderr))
        if exit_code == 0:
            self.assertEqual(done.stderr, b"", arguments)
            return done.stdout
        self.assertRegex(done.stderr, rb"\Adskvs: [^\n]+\n\Z", arguments)
        self.assertEqual(done.stdout, b"", arguments)
        return done.stderr

    def load_and_check(self, *arguments, **options):
        """Loads. What was left out is then in self.skipped and self.failed, as {path: reason}, the
        counts in self.counts; exit code and summary fit them. Returns both dictionaries as one.
        """
        done = self.run_cli("load", "--json", *arguments, **options)
        self.skipped = reports(done, "dskvs: load: skipped")
        self.failed = reports(done, "dskvs: load: cannot load")
        self.counts = json.loads(done.stdout)
        left_out = {**self.skipped, **self.failed}
        self.assertEqual(done.returncode, 5 if self.failed else 0, done.stderr)
        self.assertEqual(self.counts["skipped"], len(self.skipped))
        self.assertEqual(self.counts["failed"], len(self.failed))
        lines = done.stderr.decode().splitlines()
        self.assertEqual(len(lines), len(left_out) + bool(left_out), lines)
        if left_out:
            summary = "{entries} loaded, {skipped} skipped, {failed} failed".format(**self.counts)
            self.assertEqual(lines[-1], f"dskvs: load: {summary}")
        return left_out

    def ok(self, *arguments, **options):
        return self.expect(0, *arguments, **options)

    @contextlib.contextmanager
    def holding(self, store):
        """Another process has the store open for writing; yields a function that puts there."""
        holder = subprocess.Popen(
            [CLI, "load", "--ndjson", "-", store], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )

        def put(key, value):
            holder.stdin.write(b'{"key": "%s", "value": "%s"}\n' % (key.encode(), value.encode()))
            holder.stdin.flush()
            # Another process sees it once the persister has written it.
            wait_until(
                lambda: self.run_cli("get", store, key).stdout == value.encode(), f"{key} is there"
            )

        try:
            put("holder/ready", "1")
            self.holder_pid = holder.pid
            yield put
        finally:
            _, errors = holder.communicate(timeout=TIMEOUT_S)
        self.assertEqual((holder.returncode, errors), (0, b""))
