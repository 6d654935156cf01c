#!/usr/bin/env python3
"""The tools of the whole-process tests: tools/lab.py."""
import os
import pathlib
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import lab  # noqa: E402


def file(level, low, high):
    return lab.LtxFile(level, low, high, 0, 0.0)


class LabTest(unittest.TestCase):
    def test_restorable_txids(self):
        for why, files, expected in (
                ("nothing", [], []),
                ("a run", [file(0, 1, 1), file(0, 2, 2), file(0, 3, 3)], [1, 2, 3]),
                ("a hole", [file(0, 1, 1), file(0, 3, 3)], [1]),
                ("no beginning", [file(0, 2, 2), file(0, 3, 3)], []),
                ("a snapshot bridges", [file(9, 1, 4), file(0, 2, 2), file(0, 5, 5)], [4, 5]),
                ("a merged file reaches further", [file(9, 1, 2), file(1, 2, 5), file(0, 4, 4),
                                                   file(0, 6, 6)], [2, 5, 6]),
                ("an overlap", [file(9, 1, 5), file(1, 3, 8)], [5, 8])):
            with self.subTest(why):
                self.assertEqual(lab.restorable_txids(files), expected)

    def test_first_difference(self):
        with lab.Lab("lab-test") as box:
            left, right = box.path("left"), box.path("right")
            left.write_bytes(bytes(3000))
            for content, expected in ((bytes(3000), None), (bytes(2999), "sizes differ"),
                                      (bytes(2500) + b"x" + bytes(499), "page 3 of 1024 bytes "
                                                                        "differs at byte 452")):
                right.write_bytes(content)
                found = lab.first_difference(left, right, 1024)
                self.assertTrue(found == expected or found.startswith(expected), found)

    def test_leaving_ends_processes_and_removes_the_folder(self):
        try:
            with lab.Lab("lab-test") as box:
                process = box.start(["sleep", "1000"])
                folder = box.folder
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        self.assertIsNotNone(process.returncode)
        self.assertFalse(folder.exists())

    def test_processes_die_with_their_parent(self):
        box = self.enterContext(lab.Lab("lab-test"))
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            process = lab.Lab("orphan", parent=box.folder).start(["sleep", "1000"])
            os.write(writing, str(process.pid).encode())
            os.kill(os.getpid(), 9)
        os.waitpid(child, 0)
        orphan = pathlib.Path(f"/proc/{os.read(reading, 20).decode()}/stat")

        def gone():
            try:
                return orphan.read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except (FileNotFoundError, ProcessLookupError):
                return True
        lab.wait_for("the orphan's end", gone, timeout=10)

    def test_a_command_that_hangs_is_an_error(self):
        with lab.Lab("lab-test") as box:
            began = time.monotonic()
            with self.assertRaises(lab.LabError):
                box.run(["sleep", "1000"], timeout=0.2)
            self.assertLess(time.monotonic() - began, 30)

    def test_time_text(self):
        self.assertEqual(lab.format_time(1767225600.1239), "2026-01-01T00:00:00.123Z")


if __name__ == "__main__":
    unittest.main()
