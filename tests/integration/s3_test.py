#!/usr/bin/env python3
"""The program and a bucket: replicate, list, verify, restore, a second writer, keys that are wrong.
Started by tests/support/radosgw.py, which runs the server."""
import argparse
import os
import pathlib
import sqlite3
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import lab  # noqa: E402

OPTIONS = None
BUCKET = os.environ["LITESTREAM_TEST_S3_BUCKET"]
ENDPOINT = os.environ["LITESTREAM_TEST_S3_ENDPOINT"]
SECRET = os.environ["LITESTREAM_TEST_S3_SECRET_KEY"]


def environment(**more):
    """Without what the caller's shell may hold; keys as AWS programs take them."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return dict(clean, AWS_ACCESS_KEY_ID=os.environ["LITESTREAM_TEST_S3_ACCESS_KEY"],
                AWS_SECRET_ACCESS_KEY=SECRET, AWS_EC2_METADATA_DISABLED="true",
                LITESTREAM_S3_ENDPOINT=ENDPOINT, **more)


class S3Test(unittest.TestCase):
    def setUp(self):
        self.box = lab.Lab("s3")
        self.addCleanup(self.box.__exit__)
        self.url = f"s3://{BUCKET}/{self.id()}"
        self.db = self.box.path("app.db")

    def commit(self, rows):
        connection = sqlite3.connect(self.db)
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("CREATE TABLE IF NOT EXISTS t(x)")
        for _ in range(rows):
            with connection:
                connection.execute("INSERT INTO t VALUES(randomblob(1000))")
        connection.close()

    def run_tool(self, *words, **more):
        return self.box.run([OPTIONS.binary, *words], env=environment(**more))

    def must(self, *words):
        return self.box.must([OPTIONS.binary, *words], env=environment())

    def files(self):
        return self.must("ltx", self.url).splitlines()[1:]

    def content(self, path):
        connection = sqlite3.connect(path)
        rows = connection.execute("SELECT count(*), sum(length(x)), max(x) FROM t").fetchone()
        connection.close()
        return rows

    def test_replicate_and_restore(self):
        self.commit(10)
        log = self.box.path("log")
        process = self.box.start([OPTIONS.binary, "replicate", self.db, self.url], log=log,
                                 env=environment())
        lab.wait_for("the first file", self.files)
        self.commit(20)
        self.assertEqual(lab.stop(process), 0)
        files = self.files()
        self.assertGreaterEqual(len(files), 2)
        restored = self.box.path("restored.db")
        self.must("restore", "-o", restored, self.url)
        self.assertEqual(self.content(restored), self.content(self.db))
        self.must("verify", self.url)
        # From the configuration file, with another spelling of the same place.
        config = self.box.path("litestream.yml")
        config.write_text(f"dbs:\n  - path: {self.db}\n    replica:\n      type: s3\n"
                          f"      bucket: {BUCKET}\n      path: {self.id()}\n"
                          f"      endpoint: {ENDPOINT}\n")
        self.assertEqual(self.must("ltx", "-config", config, self.db).splitlines()[1:], files)
        text = log.read_text()
        self.assertNotIn(SECRET, text)
        self.assertNotIn("level=ERROR", text)
        self.assertNotIn("level=WARN", text)

    def test_the_second_writer_is_kept_away(self):
        self.commit(3)
        process = self.box.start([OPTIONS.binary, "replicate", self.db, self.url],
                                 env=environment())
        lab.wait_for("the first file", self.files)
        other = self.box.path("other.db")
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE t(x)")
        files = self.files()
        log = self.box.path("other.log")
        second = self.box.start([OPTIONS.binary, "replicate", other, self.url], log=log,
                                env=environment())
        lab.wait_for("what the second one says",
                     lambda: "another process has the lease of the replica" in log.read_text())
        self.assertEqual(self.files()[:len(files)], files)
        self.assertNotIn("ltx file uploaded", log.read_text())
        lab.stop(second)
        self.assertEqual(lab.stop(process), 0)

    def test_another_client_reads_what_we_wrote(self):
        """rclone copies the objects; with its levels renamed that is a replica in a directory."""
        self.commit(10)
        process = self.box.start([OPTIONS.binary, "replicate", self.db, self.url],
                                 env=environment())
        lab.wait_for("the first file", self.files)
        self.commit(20)
        self.assertEqual(lab.stop(process), 0)
        copy = self.box.path("copy")
        ours = environment()
        self.box.must(["rclone", "copy", f"bucket:{BUCKET}/{self.id()}", copy / "ltx"],
                      env=dict(ours, RCLONE_CONFIG="/dev/null", RCLONE_CONFIG_BUCKET_TYPE="s3",
                               RCLONE_CONFIG_BUCKET_PROVIDER="Ceph",
                               RCLONE_CONFIG_BUCKET_ENDPOINT=ENDPOINT,
                               RCLONE_CONFIG_BUCKET_ACCESS_KEY_ID=ours["AWS_ACCESS_KEY_ID"],
                               RCLONE_CONFIG_BUCKET_SECRET_ACCESS_KEY=SECRET))
        (copy / "ltx/lock.json").unlink(missing_ok=True)
        for level in sorted((copy / "ltx").iterdir()):
            level.rename(level.parent / str(int(level.name, 16)))
        restored = self.box.path("restored.db")
        self.must("restore", "-o", restored, f"file://{copy}")
        self.assertEqual(self.content(restored), self.content(self.db))

    def test_check(self):
        before = self.files()
        self.assertIn("verdict: usable", self.must("check", self.url))
        self.assertEqual(self.files(), before)
        done = self.run_tool("check", "s3://missing/x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("create the bucket", done.stdout)

    def test_what_is_wrong_is_said(self):
        self.commit(1)
        for change, word in (({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret-access-key is wrong"),
                             ({"AWS_ACCESS_KEY_ID": "wrong"}, "does not know this access-key-id"),
                             ({"LITESTREAM_S3_ENDPOINT": "http://127.0.0.1:1"}, "127.0.0.1:1")):
            with self.subTest(word):
                done = self.box.run([OPTIONS.binary, "ltx", self.url],
                                    env=dict(environment(), **change))
                self.assertEqual(done.returncode, 1)
                self.assertIn(word, done.stderr)
                self.assertNotIn(SECRET, done.stderr + done.stdout)
        done = self.run_tool("restore", "-o", self.box.path("x"), f"s3://missing/{self.id()}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("create the bucket, or correct its name or the endpoint", done.stderr)
        done = self.run_tool("restore", "-o", self.box.path("x"), self.url + "/nothing")
        self.assertEqual(done.returncode, 1)
        self.assertFalse(self.box.path("x").exists())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
