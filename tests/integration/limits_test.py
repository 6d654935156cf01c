#!/usr/bin/env python3
"""`limits` in the configuration reach what replicate does. How they share is tested beside the
code, by a simulated clock; here the time is the machine's, so that only lower bounds hold."""
import argparse
import os
import pathlib
import sqlite3
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import lab  # noqa: E402


class LimitsTest(unittest.TestCase):
    binary = None

    def setUp(self):
        self.box = self.enterContext(lab.Lab("limits"))
        self.tool = lab.Litestream(self.box, self.binary)

    def database(self, name, size):
        """Of `size` bytes that do not compress."""
        connection = sqlite3.connect(self.box.path(name), isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t(x)")
        connection.execute("INSERT INTO t VALUES(?)", (os.urandom(size),))
        connection.close()

    def configuration(self, limits):
        file = self.box.path("litestream.yml")
        file.write_text(f"limits: {limits}\ndbs:\n  - dir: {self.box.path('')}\n"
                        f"    pattern: '*.db'\n    replica: {{path: {self.box.path('replica')}}}\n")
        return file

    def seconds_of_once(self, limits):
        began = time.monotonic()
        done = self.box.run([self.tool.binary, "replicate", "-once", "-config",
                             self.configuration(limits)])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return time.monotonic() - began

    def test_bandwidth(self):
        self.database("a.db", 400_000)
        self.assertGreaterEqual(self.seconds_of_once("{upload-bandwidth: 400KB}"), 1.0)
        self.tool.must_restore(self.box.path("replica/a.db"), self.box.path("out"))
        self.assertIsNone(lab.first_difference(self.box.path("a.db"), self.box.path("out")))

    def test_requests(self):
        """Ten listings and an upload each: the last of three begins when those of the others, but
        for one second's, are paid for."""
        for name in ("a.db", "b.db", "c.db"):
            self.database(name, 1000)
        self.assertGreaterEqual(self.seconds_of_once("{requests-per-second: 10}"), 1.0)

    def test_in_the_background(self):
        self.database("a.db", 400_000)
        began = time.monotonic()
        process = self.tool.replicate_config(self.configuration("{upload-bandwidth: 400KB}"))
        lab.wait_for("the upload", lambda: lab.replica_files(self.box.path("replica/a.db")))
        self.assertGreaterEqual(time.monotonic() - began, 1.0)
        self.assertEqual(lab.stop(process), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer")
    arguments, rest = parser.parse_known_args()
    LimitsTest.binary = pathlib.Path(arguments.binary).resolve()
    unittest.main(argv=[sys.argv[0], *rest])
