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
import chaos_case  # noqa: E402
import chaos_proxy  # noqa: E402
import gcs_server  # noqa: E402
import lab  # noqa: E402

OPTIONS = None
CONFIG = """
logging:
  level: trace
addr: 127.0.0.1:{port}
dbs:
  - path: {db}
    replica:
      type: gs
      bucket: litestream
      path: app
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

    def configure(self):
        config = self.box.path("litestream.yml")
        self.port = free_port()
        config.write_text(CONFIG.format(port=self.port, db=self.writer.database))
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

    def test_no_secret_is_shown_and_requests_are_counted(self):
        self.writer.run(count=1, large_every=1, large_bytes=40_000_000, keep_bytes=1 << 40)
        config = self.configure()
        # Through what makes requests fail, so that errors are logged as well.
        with chaos_proxy.ChaosProxy(self.server.endpoint.removeprefix("http://")) as proxy:
            proxy.plan = lambda request: "503" if request.method in ("PUT", "POST") else None
            environment = self.server.environment(proxy.endpoint)
            process = self.box.start([OPTIONS.binary, "replicate", "-config", config],
                                     log=self.log, env=environment)
            lab.wait_for("what it says of uploads that are refused",
                         lambda: "server says 503" in self.log.read_text(), 120)
            proxy.plan = chaos_proxy.every(3, leave_out=("half-open",))
            lab.wait_for("the first file", lambda: any(key.endswith(".ltx")
                                                       for key in self.server.objects()), 120)
            proxy.plan = lambda request: None
            self.run_tool("restore", "-config", config, "-o", self.box.path("out"),
                          self.writer.database)
            for words in (("status", "-v"), ("check",), ("databases",)):
                self.must(words[0], "-config", config, *words[1:])
            page = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics").read().decode()
            self.shown.append(page)
            self.assertEqual(lab.stop(process), 0)
        for operation in ("PUT", "LIST"):
            self.assertIn(f'operation="{operation}"', page)
        self.assertIn('replica_type="gs"', page)
        self.assert_no_secret()


class GsChaosTest(chaos_case.ChaosCase):
    large_bytes = 40_000_000  # Some chunks of 8 MiB.

    def setUp(self):
        self.options = OPTIONS
        self.server = gcs_server.GcsServer(OPTIONS.server)
        self.addCleanup(self.server.close)
        super().setUp()
        self.url = "gs://litestream/app"
        self.secret = "-secret"

    def upstream(self):
        return self.server.endpoint.removeprefix("http://")

    def environment(self, direct):
        return self.server.environment(None if direct else self.proxy.endpoint)

    def look_at_server(self):
        self.assertEqual(self.server.requests().get("REPLACED", 0), 0)
        self.assertGreaterEqual(self.server.requests().get("CHUNK", 0), 3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    parser.add_argument("--server", required=True, type=pathlib.Path)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
