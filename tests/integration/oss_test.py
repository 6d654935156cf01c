#!/usr/bin/env python3
"""The program and a bucket of Alibaba Cloud OSS (tests/support/memory_oss.h): replicate with a live
writer, list, verify, restore, keys that are wrong, a copy by Alibaba's own client."""
import argparse
import json
import pathlib
import socket
import subprocess
import sys
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import chaos_proxy  # noqa: E402
import lab  # noqa: E402
import oss_server  # noqa: E402

OPTIONS = None
COPY = ROOT / "tests/support/oss_copy.js"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class OssTest(unittest.TestCase):
    def setUp(self):
        self.box = lab.Lab("oss")
        self.addCleanup(self.box.__exit__)
        self.server = oss_server.OssServer(OPTIONS.server)
        self.addCleanup(self.server.close)
        self.url = f"oss://{self.server.bucket}/app"
        self.writer = lab.Writer(self.box, OPTIONS.writer, self.box.path("app.db"),
                                 self.box.path("journal"))
        self.log = self.box.path("log")

    def run_tool(self, *words, **more):
        return self.box.run([OPTIONS.binary, *words],
                            env=dict(self.server.environment(), **more))

    def must(self, *words):
        return self.box.must([OPTIONS.binary, *words], env=self.server.environment())

    def files(self, what=None):
        return self.must("ltx", *(what or [self.url])).splitlines()[1:]

    def replicate(self, *words):
        return self.box.start([OPTIONS.binary, "replicate", *words], log=self.log,
                              env=self.server.environment())

    def config(self, text):
        path = self.box.path("litestream.yml")
        path.write_text(text)
        return path

    def restored(self, name, *source):
        output = self.box.path(name)
        self.must("restore", "-o", output, *source)
        return self.writer.check(output)

    def test_replicate_and_restore(self):
        self.writer.run(count=1, large_every=1, large_bytes=14_000_000, keep_bytes=1 << 40)
        process = self.replicate(self.writer.database, self.url)
        lab.wait_for("the first file", self.files)
        self.writer.run(rate=50, seconds=4)
        self.assertEqual(lab.stop(process), 0, self.log.read_text())
        last = self.writer.journal_lines()[-1][0]
        files = self.files()
        self.assertGreaterEqual(len(files), 2)
        self.assertEqual(self.restored("restored.db", self.url), last)
        self.must("verify", self.url)
        # From the configuration file, with another spelling of the same place.
        config = self.config(f"dbs:\n  - path: {self.writer.database}\n    replica:\n"
                             f"      type: oss\n      bucket: {self.server.bucket}\n"
                             f"      path: app\n      endpoint: {self.server.endpoint}\n"
                             f"      lease: off\n")
        words = ["-config", config, self.writer.database]
        self.assertEqual(self.files(words), files)
        self.assertEqual(self.restored("again.db", *words), last)
        # And it goes on from there.
        process = self.replicate("-config", config)
        self.writer.run(rate=50, seconds=1)
        self.assertEqual(lab.stop(process), 0, self.log.read_text())
        self.assertEqual(self.restored("on.db", self.url), self.writer.journal_lines()[-1][0])
        self.assertEqual(self.server.requests().get("REPLACED", 0), 0)
        text = self.log.read_text()
        self.assertNotIn("level=ERROR", text)
        self.assertIn("no conditional writes here", text)
        self.assertNotIn(self.server.secret, text)

    def test_a_copy_by_alibabas_own_client(self):
        self.writer.run(count=20)
        self.must("replicate", "-once", self.writer.database, self.url)
        copy = self.box.path("copy")
        done = self.box.run(["node", COPY, copy, "app/"], env=self.server.variables())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # A directory has its levels elsewhere.
        replica = self.box.path("replica")
        for level in sorted((copy / "app").iterdir()):
            target = replica / "ltx" / str(int(level.name, 16))
            target.parent.mkdir(parents=True, exist_ok=True)
            level.rename(target)
        self.assertEqual(self.restored("of_copy.db", f"file://{replica}"),
                         self.writer.journal_lines()[-1][0])

    def test_check(self):
        code = self.run_tool("check", "-json", self.url)
        (checked,) = json.loads(code.stdout)
        self.assertEqual((code.returncode, checked["usable"]), (0, True), checked)
        outcomes = {step["name"]: step["outcome"] for step in checked["steps"]}
        self.assertEqual(outcomes.pop("conditional write"), "not supported")
        self.assertEqual(set(outcomes.values()), {"ok"}, checked)
        self.assertEqual(self.server.objects(), {})
        done = self.run_tool("check", "oss://missing/x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("create the bucket", done.stdout)
        config = self.config("dbs:\n  - path: /nowhere/app.db\n    replica:\n"
                             f"      url: {self.url}\n      lease: required\n")
        done = self.run_tool("check", "-config", config)
        self.assertEqual(done.returncode, 1)
        self.assertIn("lease: required", done.stdout)

    def test_what_is_wrong_is_said(self):
        for change, word in (
                ({"OSS_ACCESS_KEY_SECRET": "wrong"}, "the secret-access-key is wrong"),
                ({"OSS_ACCESS_KEY_ID": "wrong"}, "does not know this access-key-id"),
                ({"OSS_SESSION_TOKEN": "old"}, "get new credentials"),
                ({"OSS_REGION": "cn-beijing"}, "set `region` to that of bucket"),
                ({"OSS_ACCESS_KEY_ID": ""}, "no credentials: set access-key-id"),
                ({"OSS_ENDPOINT": "http://127.0.0.1:1"}, "127.0.0.1:1")):
            with self.subTest(word):
                done = self.run_tool("ltx", self.url, **change)
                self.assertEqual(done.returncode, 1)
                self.assertIn(word, done.stderr)
                self.assertNotIn(self.server.secret, done.stderr + done.stdout)
        for url, word in (("oss://missing/app", "create the bucket"),
                          ("oss://Up.per/app", "is no name of a bucket"),
                          ("oss://", "bucket required for oss replica")):
            done = self.run_tool("restore", "-o", self.box.path("x"), url)
            self.assertEqual(done.returncode, 1)
            self.assertIn(word, done.stderr)
        done = self.run_tool("restore", "-o", self.box.path("x"), self.url + "/nothing")
        self.assertEqual(done.returncode, 1)
        self.assertFalse(self.box.path("x").exists())

    def test_no_secret_is_shown_and_requests_are_counted(self):
        self.writer.run(count=3)
        port = free_port()
        settings = self.server.settings
        keys = (f"      access-key-id: {settings['STS_KEY']}\n"
                f"      secret-access-key: {settings['STS_SECRET']}\n"
                f"      session-token: {settings['STS_TOKEN']}\n")
        # Through what makes requests fail, so that errors are logged as well.
        with chaos_proxy.ChaosProxy(self.server.endpoint.removeprefix("http://")) as proxy:
            proxy.plan = lambda request: "503" if request.method == "PUT" else None
            config = self.config(f"addr: 127.0.0.1:{port}\nlogging:\n  level: trace\ndbs:\n"
                                 f"  - path: {self.writer.database}\n    replica:\n"
                                 f"      url: {self.url}\n      endpoint: {proxy.endpoint}\n{keys}")
            process = self.replicate("-config", config)
            lab.wait_for("a refused upload", lambda: proxy.seen["503"] >= 3)
            proxy.plan = lambda request: None
            lab.wait_for("the first file", lambda: self.server.newest(), 60)
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
            shown = [page]
            for words in (("status", "-v"), ("status", "-v", "-json"), ("check",), ("databases",)):
                done = self.run_tool(words[0], "-config", config, *words[1:])
                self.assertEqual(done.returncode, 0, (words, done.stdout, done.stderr))
                shown.append(done.stdout + done.stderr)
            self.assertEqual(lab.stop(process), 0)
        shown.append(self.log.read_text())
        for name in ("STS_SECRET", "STS_TOKEN"):
            self.assertNotIn(settings[name], "".join(shown))
        self.assertNotIn("Signature=", "".join(shown))
        for operation in ("PUT", "LIST"):
            labels = f'{{operation="{operation}",replica_type="oss"}}'
            other = f'{{replica_type="oss",operation="{operation}"}}'
            self.assertTrue(labels in page or other in page, page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    parser.add_argument("--server", required=True, type=pathlib.Path)
    parser.add_argument("--service")
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
