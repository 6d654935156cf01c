#!/usr/bin/env python3
"""Stock Litestream's SQLite extension reads the replicas that we write.

It is the only reader of the format that is not ours and comes from a package registry. First it
reads golden replicas, to show that this test itself sees what it should.
"""
import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import lab  # noqa: E402

EXTENSION = ROOT / "node_modules/litestream-vfs-linux-amd64/litestream-vfs.so"
GOLDEN = ("ps512", "ps4096", "ps65536", "levels", "autovacuum-full", "vacuum-shrink")


def golden_folder():
    given = os.environ.get("LITESTREAM_GOLDEN")
    return pathlib.Path(given) if given else ROOT.parent / "shared/golden"


class Extension:
    """The sqlite3 command line with the extension loaded, on one replica."""

    def __init__(self, box, replica):
        self.box = box
        self.env = {**os.environ, "LITESTREAM_REPLICA_URL": lab.url(replica),
                    "LITESTREAM_LOG_FILE": str(box.path("extension.log")),
                    "TMPDIR": str(box.folder)}

    def run(self, *statements, at=None):
        script = [f".load {EXTENSION.with_suffix('')}", ".open file:replica?vfs=litestream"]
        if at:
            script += [f"PRAGMA litestream_time='{at}';"]
        script += list(statements)
        done = self.box.run(["sqlite3", "-batch", "-bail", ":memory:"], env=self.env,
                            stdin="\n".join(script) + "\n")
        lab.require(done.returncode == 0, f"sqlite3 with the extension: {done.stderr}{done.stdout}")
        return done.stdout

    @contextlib.contextmanager
    def open(self):
        """A connection that stays, and polls for new files."""
        process = subprocess.Popen(
            ["sqlite3", "-batch", ":memory:"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=self.env, cwd=self.box.folder, text=True, bufsize=1)
        try:
            session = Session(process)
            session.say(f".load {EXTENSION.with_suffix('')}")
            session.say(".open file:replica?vfs=litestream")
            yield session
        finally:
            process.kill()
            process.communicate()

    def dump(self, at=None):
        return sorted_lines(self.run(".dump", at=at))


class Session:
    def __init__(self, process):
        self.process = process

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def ask(self, statement):
        """The first line of the answer."""
        self.say(statement)
        return self.process.stdout.readline().strip()


def sorted_lines(text):
    return sorted(text.encode().splitlines(keepends=True))


def digest(lines):
    return hashlib.sha256(b"".join(lines)).hexdigest()


class IndependentReaderTest(unittest.TestCase):
    binary = None
    writer_binary = None

    def setUp(self):
        self.assertTrue(EXTENSION.exists(), f"{EXTENSION} is missing; run make deps")
        self.box = self.enterContext(lab.Lab("reader"))

    def test_golden_replicas(self):
        for name in GOLDEN:
            with self.subTest(name):
                case = golden_folder() / "replica-file" / name
                expected = json.loads((case / "expected.json").read_text())
                replica = self.box.path(name)
                lab.copy_tree(case / "replica", replica)
                for file in expected["files"]:
                    os.utime(replica / file["path"], ns=(file["mtime_ns"], file["mtime_ns"]))
                reader = Extension(self.box, replica)
                self.assertEqual(digest(reader.dump()), expected["latest"]["dump_sha256"])
                read = [t for t in expected["timestamps"] if "dump_sha256" in t]
                self.assertTrue(read)
                for moment in read[::max(1, len(read) // 3)]:
                    self.assertEqual(digest(reader.dump(at=moment["timestamp"])),
                                     moment["dump_sha256"], moment["timestamp"])

    def replicate_in_phases(self, one, phases):
        """Returns [(end of the phase, dump of the source then)]."""
        tool, writer, replica = one
        reader = Extension(self.box, replica)
        seen = []
        replicator = tool.replicate_config(self.box.path("config.yml"), self.box.path("log"))
        for phase in phases:
            counter = writer.run(**phase)["counter"]
            lab.wait_for("replication", lambda: self.counter(reader, replica) == counter)
            dump = sorted_lines(self.box.must(["sqlite3", writer.database, ".dump"]))
            self.assertEqual(reader.dump(), dump)
            newest = max(file.time for file in lab.replica_files(replica))
            seen.append((lab.format_time(newest + 0.001), dump))
        self.assertEqual(lab.stop(replicator), 0)
        return seen

    def counter(self, reader, replica):
        if not lab.replica_files(replica):
            return None  # The extension would wait for the first file.
        return int(reader.run("SELECT counter FROM state;"))

    def test_our_replicas(self):
        for page_size, vacuum in ((512, "full"), (4096, "none"), (65536, "incremental")):
            with self.subTest(page_size=page_size):
                self.read_ours(page_size, vacuum)

    def read_ours(self, page_size, vacuum):
        replica = self.box.path(f"replica{page_size}")
        writer = lab.Writer(self.box, self.writer_binary, self.box.path(f"db{page_size}"),
                            self.box.path(f"journal{page_size}"))
        tool = lab.Litestream(self.box, self.binary)
        self.box.path("config.yml").write_text(
            f"dbs: [{{path: {writer.database}, monitor-interval: 20ms,\n"
            f"  replica: {{path: {replica}, sync-interval: 20ms}}}}]\n")
        shape = {"page_size": page_size, "auto_vacuum": vacuum}
        seen = self.replicate_in_phases((tool, writer, replica), [
            {**shape, "count": 50},
            {**shape, "count": 200, "rate": 400, "blob_every": 60, "blob_bytes": 300_000},
            {**shape, "count": 50, "shrink_every": 40, "autocheckpoint": 10},
            {**shape, "count": 30, "vacuum_every": 20},
            {**shape, "count": 300, "rate": 200, "large_every": 100, "large_bytes": 1 << 20},
        ])
        reader = Extension(self.box, replica)
        self.assertEqual(reader.dump(), seen[-1][1])
        self.assertEqual(reader.run("PRAGMA integrity_check;"), "ok\n")
        for at, dump in seen:
            self.assertEqual(reader.dump(at=at), dump, f"at {at}")
        newest = lab.newest_txid(lab.replica_files(replica))
        self.assertEqual(reader.run("PRAGMA litestream_txid;").strip(), f"{newest:016x}")

    def test_merged_files(self):
        """What waited while the replica was away comes as merged files of level 0."""
        replica = self.box.path("replica")
        writer = lab.Writer(self.box, self.writer_binary, self.box.path("db"),
                            self.box.path("journal"))
        tool = lab.Litestream(self.box, self.binary)
        self.box.path("config.yml").write_text(
            f"dbs: [{{path: {writer.database}, monitor-interval: 20ms,\n"
            f"  replica: {{path: {replica}, sync-interval: 20ms}}}}]\n")
        reader = Extension(self.box, replica)
        replicator = tool.replicate_config(self.box.path("config.yml"), self.box.path("log"))
        before = writer.run(count=50, rate=100, shrink_every=40)["counter"]
        lab.wait_for("replication", lambda: self.counter(reader, replica) == before)
        with reader.open() as polling:
            self.assertEqual(polling.ask("SELECT counter FROM state;"), str(before))
            for _ in range(2):
                replica.rename(self.box.path("away"))
                replica.write_text("not a directory")
                counter = writer.run(count=100, rate=100, shrink_every=40)["counter"]
                replica.unlink()
                self.box.path("away").rename(replica)
                lab.wait_for("replication", lambda: self.counter(reader, replica) == counter)
                dump = sorted_lines(self.box.must(["sqlite3", writer.database, ".dump"]))
                self.assertEqual(reader.dump(), dump)
                lab.wait_for("the reader that stays",
                             lambda: polling.ask("SELECT counter FROM state;") == str(counter))
                self.assertEqual(polling.ask("PRAGMA integrity_check;"), "ok")
        self.assertEqual(lab.stop(replicator), 0)
        files = [f for f in lab.replica_files(replica) if f.level == 0]
        self.assertTrue([f for f in files if f.max_txid > f.min_txid], files)
        self.assertEqual(files[-1].min_txid, files[-1].max_txid)

    def test_streamed_snapshot(self):
        """A large database: the replica begins with a snapshot that was read while it was sent."""
        replica = self.box.path("replica")
        writer = lab.Writer(self.box, self.writer_binary, self.box.path("db"),
                            self.box.path("journal"))
        writer.run(count=80, blob_every=1, blob_bytes=500_000)
        self.box.path("config.yml").write_text(
            f"dbs: [{{path: {writer.database}, monitor-interval: 20ms,\n"
            f"  replica: {{path: {replica}, sync-interval: 20ms}}}}]\n")
        tool = lab.Litestream(self.box, self.binary)
        [(_, dump)] = self.replicate_in_phases(
            (tool, writer, replica), [{"count": 200, "rate": 200, "shrink_every": 40}])
        files = lab.replica_files(replica)
        snapshots = [f for f in files if f.level == 9]
        self.assertEqual([f.min_txid for f in snapshots], [1])
        self.assertFalse([f for f in files if f.level == 0 and f.min_txid == 1], files)
        self.assertEqual(sorted_lines(self.box.must(["sqlite3", writer.database, ".dump"])), dump)
        reader = Extension(self.box, replica)
        self.assertEqual(reader.run("PRAGMA integrity_check;"), "ok\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer", required=True)
    arguments, rest = parser.parse_known_args()
    IndependentReaderTest.binary = arguments.binary
    IndependentReaderTest.writer_binary = arguments.writer
    unittest.main(argv=[sys.argv[0], *rest])
