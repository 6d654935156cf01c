#!/usr/bin/env python3
"""The writer must survive what the tests do to it, and its check must find wrong copies."""
import argparse
import pathlib
import shutil
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools"))
import lab  # noqa: E402


class WriterTest(unittest.TestCase):
    binary = None

    def setUp(self):
        self.lab = self.enterContext(lab.Lab("writer"))
        self.writer = lab.Writer(self.lab, self.binary, self.lab.path("db"),
                                 self.lab.path("journal"))

    def check(self, copy=None, journal=None):
        return self.lab.run([self.binary, "--check", copy or self.writer.database,
                             journal or self.writer.journal])

    def test_goes_on_after_being_killed(self):
        counters = []
        for _ in range(3):
            before = len(self.writer.journal_lines())
            process = self.writer.start(keep_bytes=200000)
            lab.wait_for("commits", lambda: len(self.writer.journal_lines()) > before + 200)
            lab.kill(process)
            counters.append(self.writer.check(self.writer.database))
        self.assertEqual(counters, sorted(set(counters)))

    def test_every_kind_of_transaction(self):
        for page_size, vacuum in ((512, "full"), (4096, "incremental"), (65536, "none")):
            with self.subTest(page_size=page_size):
                writer = lab.Writer(self.lab, self.binary, self.lab.path(f"db{page_size}"),
                                    self.lab.path(f"journal{page_size}"))
                summary = writer.run(
                    count=600, page_size=page_size, auto_vacuum=vacuum, autocheckpoint=0,
                    shrink_every=150, vacuum_every=170, blob_every=90, blob_bytes=100000,
                    large_every=200, large_bytes=500000, checkpoint_every=23,
                    checkpoint_mode="cycle", reader_every=31, reader_seconds=0.02)
                self.assertEqual(summary["commits"], 600)
                self.assertEqual(writer.check(writer.database), 600)

    def test_rate_and_time(self):
        summary = self.writer.run(rate=100, seconds=1)
        self.assertGreater(summary["commits"], 50)
        self.assertLess(summary["commits"], 110)

    def test_check_finds_wrong_copies(self):
        self.writer.run(count=50)
        copy = self.lab.path("copy")
        for name, statement, message in (
                ("row", "UPDATE items SET value = value + 1 WHERE id = (SELECT max(id) FROM items)",
                 "the state row says"),
                ("lost row", "DELETE FROM items WHERE id = (SELECT max(id) FROM items)",
                 "the state row says"),
                ("other history", "UPDATE state SET checksum = checksum + 1",
                 "but the journal has"),
                ("too new", "UPDATE state SET counter = counter + 2", "which no line of")):
            with self.subTest(name):
                shutil.copyfile(self.writer.database, copy)
                self.lab.must(["sqlite3", copy, statement])
                done = self.check(copy)
                self.assertEqual(done.returncode, 1)
                self.assertIn(message, done.stderr)

    def test_check_finds_damage(self):
        self.writer.run(count=50)
        with open(self.writer.database, "r+b") as file:
            file.seek(4096 * 2)
            file.write(bytes(4096))
        self.assertEqual(self.check().returncode, 1)

    def test_check_takes_the_commit_in_flight(self):
        self.writer.run(count=50)
        lines = self.writer.journal.read_text().splitlines(keepends=True)
        short = self.lab.path("short")
        short.write_text("".join(lines[:-1]) + lines[-1][:9])
        self.assertEqual(self.check(journal=short).returncode, 0)
        short.write_text("".join(lines[:-2]))
        self.assertEqual(self.check(journal=short).returncode, 1)

    def test_refuses_a_database_that_lost_commits(self):
        self.writer.run(count=50)
        shutil.copyfile(self.writer.database, self.lab.path("old"))
        self.writer.run(count=50)
        shutil.copyfile(self.lab.path("old"), self.writer.database)
        done = self.lab.run(self.writer.command(count=1))
        self.assertEqual(done.returncode, 1)
        self.assertIn("has lost commits", done.stderr)

    def test_stops_on_sigterm(self):
        process = self.writer.start(rate=10)
        lab.wait_for("a commit", lambda: len(self.writer.journal_lines()) > 1)
        began = time.monotonic()
        self.assertEqual(lab.stop(process), 0)
        self.assertLess(time.monotonic() - began, 5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--writer", required=True)
    arguments, rest = parser.parse_known_args()
    WriterTest.binary = pathlib.Path(arguments.writer).resolve()
    unittest.main(argv=[sys.argv[0], *rest])
