#!/usr/bin/env python3
"""The program and a bucket of Google Cloud Storage (tests/support/gcs_server.py): replicate, list,
verify, restore, check, what is wrong, a network that does what networks do, another program that
reads the bucket; and that no secret is shown anywhere."""
import argparse
import json
import os
import pathlib
import socket
import sqlite3
import sys
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import chaos_proxy  # noqa: E402
import gcs_server  # noqa: E402
import lab  # noqa: E402

OPTIONS = None
DAMAGE = ("flip", "too-short")
CONFIG = """
logging:
  level: trace
addr: 127.0.0.1:{port}
levels:
  - interval: 1s
  - interval: 3s
snapshot:
  interval: 4s
dbs:
  - path: {db}
    replica:
      type: gs
      bucket: litestream
      path: {path}
      sync-interval: 50ms
      stall-timeout: 300ms
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class GsTest(unittest.TestCase):
    def setUp(self):
        self.box = lab.Lab("gs")
        self.addCleanup(self.box.__exit__)
        self.server = gcs_server.GcsServer(OPTIONS.server)
        self.addCleanup(self.server.close)
        self.url = "gs://litestream/app"
        self.writer = lab.Writer(self.box, OPTIONS.writer, self.box.path("app.db"),
                                 self.box.path("journal"))
        self.log = self.box.path("log")
        self.shown = []  # All that a person may see.

    def run_tool(self, *words, **more):
        done = self.box.run([OPTIONS.binary, *words],
                            env=dict(self.server.environment(), **more))
        self.shown += [done.stdout, done.stderr]
        return done

    def must(self, *words, **more):
        done = self.run_tool(*words, **more)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def files(self):
        return self.must("ltx", self.url).splitlines()[1:]

    def restore(self, name, url, **more):
        """The last counter of what is restored; None if it failed."""
        output = self.box.path(name)
        done = self.run_tool("restore", "-o", output, url, **more)
        if done.returncode != 0:
            self.assertFalse(output.exists(), "a failed restore leaves nothing")
            return None
        return self.writer.check(output)

    def configure(self, path="app"):
        config = self.box.path("litestream.yml")
        self.port = free_port()
        config.write_text(CONFIG.format(port=self.port, db=self.writer.database, path=path))
        return config

    def assert_no_secret(self):
        if self.log.exists():
            self.shown.append(self.log.read_text())
        for secret in self.server.secrets():
            for text in self.shown:
                self.assertNotIn(secret, text)

    def test_replicate_and_restore(self):
        self.writer.run(count=10)
        process = self.box.start([OPTIONS.binary, "replicate", self.writer.database, self.url],
                                 log=self.log, env=self.server.environment())
        lab.wait_for("the first file", self.files)
        self.writer.run(count=40, rate=20)
        self.assertEqual(lab.stop(process), 0)
        files = self.files()
        self.assertGreaterEqual(len(files), 2)
        last = self.writer.journal_lines()[-1][0]
        self.assertEqual(self.restore("restored.db", self.url), last)
        self.assertIn("proven", self.must("verify", self.url))
        self.assertEqual(self.must("ltx", "-config", self.configure(),
                                   self.writer.database).splitlines()[1:], files)
        # The name of v0.3, and a user's login.
        self.assertEqual(self.restore("gcs.db", "gcs://litestream/app",
                                      GOOGLE_APPLICATION_CREDENTIALS=str(self.server.user)), last)
        self.assertEqual(self.server.open_uploads(), 0)
        text = self.log.read_text()
        self.assertNotIn("level=ERROR", text)
        self.assertNotIn("level=WARN", text)
        self.assert_no_secret()

    def test_another_program_reads_the_bucket(self):
        self.writer.run(count=5)
        # Larger than a chunk.
        self.writer.run(count=1, large_every=1, large_bytes=20_000_000, keep_bytes=1 << 40)
        self.must("replicate", "-once", self.writer.database, self.url)
        copy = self.box.path("copy")
        environment = dict(os.environ, RCLONE_CONFIG=os.devnull,
                           RCLONE_GCS_BUCKET_POLICY_ONLY="true",
                           RCLONE_GCS_ENDPOINT=self.server.endpoint + "/storage/v1/",
                           RCLONE_GCS_SERVICE_ACCOUNT_FILE=str(self.server.account))
        self.box.must(["rclone", "copy", ":gcs:litestream/app", copy], env=environment)
        self.assertGreaterEqual(len(lab.replica_files(copy)), 1)
        last = self.writer.journal_lines()[-1][0]
        self.assertEqual(self.restore("copied.db", f"file://{copy}"), last)
        # And the other way around.
        self.box.must(["rclone", "copy", copy, ":gcs:litestream/back"], env=environment)
        self.assertEqual(self.restore("back.db", "gs://litestream/back"), last)

    def test_the_second_writer_is_kept_away(self):
        self.writer.run(count=3)
        process = self.box.start([OPTIONS.binary, "replicate", self.writer.database, self.url],
                                 env=self.server.environment())
        lab.wait_for("the first file", self.files)
        other = self.box.path("other.db")
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE t(x)")
        files = self.files()
        second = self.box.start([OPTIONS.binary, "replicate", other, self.url], log=self.log,
                                env=self.server.environment())
        lab.wait_for("what the second one says", lambda: "another process has the lease of the "
                     "replica" in self.log.read_text())
        self.assertEqual(self.files()[:len(files)], files)
        self.assertNotIn("ltx file uploaded", self.log.read_text())
        lab.stop(second)
        self.assertEqual(lab.stop(process), 0)

    def test_check(self):
        for url in ("gs://litestream/app", "gs://litestream/", "gs://litestream"):
            self.assertIn("verdict: usable", self.must("check", url))
            self.assertEqual(self.server.objects(), {})
        done = self.run_tool("check", "gs://missing/x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("create the bucket, or correct its name", done.stdout)

    def test_what_is_wrong_is_said(self):
        account = json.loads(self.server.account.read_text())
        other = self.box.path("other.json")
        other.write_text(json.dumps(dict(account, client_email="other@example.com")))
        broken = self.box.path("broken.json")
        broken.write_text(json.dumps(dict(account, private_key="-----BEGIN")))
        user = json.loads(self.server.user.read_text())
        revoked = self.box.path("revoked.json")
        revoked.write_text(json.dumps(dict(user, refresh_token="1//other-secret")))
        host = self.server.endpoint.removeprefix("http://")
        for change, word in (
                ({"GOOGLE_APPLICATION_CREDENTIALS": str(other)}, "invalid_grant"),
                ({"GOOGLE_APPLICATION_CREDENTIALS": str(broken)}, "private_key is no private key"),
                ({"GOOGLE_APPLICATION_CREDENTIALS": str(revoked)},
                 "gcloud auth application-default login"),
                ({"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json"}, "/nowhere.json"),
                ({"GOOGLE_APPLICATION_CREDENTIALS": "", "HOME": "/nowhere",
                  "NO_GCE_CHECK": "true"}, "set GOOGLE_APPLICATION_CREDENTIALS"),
                ({"STORAGE_EMULATOR_HOST": host}, "no credentials were sent"),
                ({"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": "http://example.com/"},
                 "secrets go over https only"),
                ({"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": "http://127.0.0.1:1/"},
                 "127.0.0.1:1")):
            with self.subTest(word):
                done = self.run_tool("ltx", self.url, **change)
                self.assertEqual(done.returncode, 1)
                self.assertIn(word, done.stderr)
        done = self.run_tool("restore", "-o", self.box.path("x"), "gs://missing/x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("create the bucket, or correct its name", done.stderr)
        self.assertFalse(self.box.path("x").exists())
        self.assert_no_secret()

    def start(self, config, proxy):
        return self.box.start([OPTIONS.binary, "replicate", "-config", config], log=self.log,
                              env=self.server.environment(proxy.endpoint))

    def test_nothing_is_lost_and_nothing_is_wrong(self):
        proxy = chaos_proxy.ChaosProxy(self.server.endpoint.removeprefix("http://"))
        self.addCleanup(proxy.__exit__)
        plan = chaos_proxy.every(3)
        proxy.plan = plan
        # Large enough for an upload in chunks.
        self.writer.run(count=1, large_every=1, large_bytes=40_000_000, keep_bytes=1 << 40)
        config = self.configure()
        process = self.start(config, proxy)
        self.writer.run(rate=40, seconds=7)
        lab.kill(process)
        # It looks what is there, and is told what was there.
        proxy.plan = lambda request: "stale-list" if request.is_list() else plan(request)
        process = self.start(config, proxy)
        for _ in range(15):
            self.writer.run(rate=40, seconds=4)
            if {*chaos_proxy.ANY, "flip-request", "stale-list"} <= set(proxy.seen):
                break
        proxy.plan = lambda request: None
        self.shown.append(urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/metrics").read().decode())
        self.assertEqual(lab.stop(process, 120), 0, self.log.read_text())
        last = self.writer.journal_lines()[-1][0]
        happened = set(proxy.seen)
        self.assertEqual(self.restore("plain.db", self.url), last)
        self.must("verify", self.url)
        self.assertEqual(self.server.requests().get("REPLACED", 0), 0)
        self.assertGreaterEqual(self.server.requests().get("CHUNK", 0), 3)
        for operation in ("PUT", "GET", "LIST"):
            self.assertRegex(self.shown[0], f'operation="{operation}"')
        self.assert_no_secret()
        # What is damaged on its way ends a restore, and nothing is left of it. (Old lists lead to
        # a state that is old.)
        through = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": proxy.endpoint}
        proxy.plan = chaos_proxy.every(3, leave_out=("stale-list", "half-open"))
        restored = {self.restore(f"damaged{number}.db", self.url, **through)
                    for number in range(4)}
        self.assertLessEqual(restored, {None, last})
        happened |= set(proxy.seen)
        # Whatever else happens, it goes on where it was.
        proxy.plan = chaos_proxy.every(3, leave_out=("stale-list", "half-open", *DAMAGE))
        self.assertEqual(self.restore("restored.db", self.url, **through), last)
        happened |= set(proxy.seen)
        everything = {*chaos_proxy.ANY, *chaos_proxy.ANSWERS, "flip", "flip-request", "stale-list"}
        self.assertEqual(everything - happened, set(), "it has to happen to be a test")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    parser.add_argument("--server", required=True, type=pathlib.Path)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
