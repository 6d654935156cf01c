#!/usr/bin/env python3
"""The program and WebDAV servers (Apache and rclone): replicate, list, verify, restore, keys that
are wrong, copies by another client, a network that does what networks do. Started by
tests/support/webdav_servers.py, which runs the servers."""
import argparse
import os
import pathlib
import socket
import subprocess
import sys
import unittest
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import chaos_proxy  # noqa: E402
import lab  # noqa: E402

OPTIONS = None
APACHE = os.environ["LITESTREAM_TEST_WEBDAV_APACHE"]
RCLONE = os.environ["LITESTREAM_TEST_WEBDAV_RCLONE"]
USER = os.environ["LITESTREAM_TEST_WEBDAV_USER"]
PASSWORD = os.environ["LITESTREAM_TEST_WEBDAV_PASSWORD"]
SERVERS = {"basic": f"{APACHE}/basic", "digest": f"{APACHE}/digest", "rclone": RCLONE}
STEPS = ["write", "list", "read", "write once", "conditional write", "delete", "clean up"]
# Flipped bytes of a request are noticed by TLS, and by nothing in plain HTTP.
NOT_HERE = ("flip-request",)
DAMAGE = ("flip", "too-short")
CONFIG = """
levels:
  - interval: 1s
  - interval: 3s
snapshot:
  interval: 4s
addr: 127.0.0.1:{port}
logging:
  level: trace
dbs:
  - path: {db}
    replica:
      type: webdav
      webdav-url: {url}
      webdav-username: {user}
      webdav-password: {password}
      path: {path}
      sync-interval: 50ms
      stall-timeout: 500ms
"""


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def url(base, path, user=USER, password=PASSWORD):
    """The same place as one URL."""
    escaped = ":".join(urllib.parse.quote(text, safe="") for text in (user, password))
    return f"webdav://{escaped}@{base.removeprefix('http://')}/{urllib.parse.quote(path)}"


class WebdavTest(unittest.TestCase):
    def setUp(self):
        self.box = lab.Lab("webdav")
        self.addCleanup(self.box.__exit__)
        self.writer = lab.Writer(self.box, OPTIONS.writer, self.box.path("app.db"),
                                 self.box.path("journal"))
        self.log = self.box.path("log")
        self.path = f"a b+é/{self.id()}"
        self.shown = []  # All that the program has said.

    def run_tool(self, *words):
        done = self.box.run([OPTIONS.binary, *words])
        self.shown.append(done.stdout + done.stderr)
        return done

    def must(self, *words):
        done = self.run_tool(*words)
        self.assertEqual(done.returncode, 0, (words, done.stdout, done.stderr))
        return done.stdout

    def config(self, base, port=None, name="litestream.yml", **changes):
        file = self.box.path(name)
        settings = dict(user=quoted(USER), password=quoted(PASSWORD), path=self.path) | changes
        file.write_text(CONFIG.format(db=self.writer.database, url=base, port=port or free_port(),
                                      **settings))
        return file

    def start(self, *words):
        return self.box.start([OPTIONS.binary, "replicate", *words], log=self.log)

    def restore(self, name, place):
        output = self.box.path(name)
        done = self.run_tool("restore", "-o", output, place)
        if done.returncode != 0:
            self.assertFalse(output.exists(), "a failed restore leaves nothing")
            return None
        return self.writer.check(output)

    def last(self):
        return self.writer.journal_lines()[-1][0]

    def assert_no_secret(self):
        if self.log.exists():
            self.shown.append(self.log.read_text())
        for spelling in (PASSWORD, urllib.parse.quote(PASSWORD, safe="")):
            for text in self.shown:
                self.assertNotIn(spelling, text)
        self.assertNotIn("Authorization", "".join(self.shown))

    def test_replicate_and_restore(self):
        for name, base in SERVERS.items():
            with self.subTest(name):
                self.path = f"a b+é/{self.id()}-{name}"
                port = free_port()
                config = self.config(base, port)
                process = self.start("-config", config)
                self.writer.run(rate=50, seconds=3)
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
                self.shown.append(page)
                self.assertIn('replica_type="webdav"', page)
                self.must("status", "-v", "-config", config)
                self.assertEqual(lab.stop(process), 0, self.log.read_text())
                place = url(base, self.path)
                files = self.must("ltx", place).splitlines()[1:]
                self.assertGreaterEqual(len(files), 2)
                self.assertEqual(self.must("ltx", "-config", config,
                                           self.writer.database).splitlines()[1:], files)
                self.must("verify", place)
                self.assertEqual(self.restore(f"{name}.db", place), self.last())
                # To a moment: the times of files are those that the program wrote.
                counter, seconds = self.writer.journal_lines()[-40]
                output = self.box.path(f"{name}-then.db")
                self.must("restore", "-o", output, "-timestamp", lab.format_time(seconds), place)
                self.assertLessEqual(self.writer.check(output), counter)
                self.assertNotIn("level=ERROR", self.log.read_text())
        self.assertIn("nothing keeps a second writer away", self.log.read_text())
        self.assert_no_secret()

    def test_a_url_alone(self):
        place = url(RCLONE, self.path)
        process = self.start(self.writer.database, place)
        self.writer.run(rate=50, seconds=1)
        self.assertEqual(lab.stop(process), 0, self.log.read_text())
        self.assertEqual(self.restore("restored.db", place), self.last())
        self.assert_no_secret()

    def test_copied_by_another_client(self):
        for name in ("basic", "rclone"):
            with self.subTest(name):
                self.path = f"copied {name}"
                process = self.start("-config", self.config(SERVERS[name]))
                self.writer.run(rate=50, seconds=2)
                self.assertEqual(lab.stop(process), 0, self.log.read_text())
                hidden = subprocess.run(["rclone", "obscure", "-"], input=PASSWORD, text=True,
                                        capture_output=True, check=True).stdout.strip()
                environment = dict(os.environ, RCLONE_WEBDAV_URL=SERVERS[name],
                                   RCLONE_WEBDAV_USER=USER, RCLONE_WEBDAV_PASS=hidden)
                copy = self.box.path(f"copy-{name}")
                self.box.must(["rclone", "copy", "--config", self.box.path("none"),
                               f":webdav:{self.path}", copy], env=environment)
                self.assertEqual(self.restore(f"{name}.db", f"file://{copy}"), self.last())
                # A merge that the stop has broken off may leave the file that it began: the server
                # makes it after it was told to remove it. It is swept later.
                self.assertLessEqual({file.suffix for file in copy.rglob("*") if file.is_file()},
                                     {".ltx", ".tmp"})

    def test_check(self):
        for name, base in SERVERS.items():
            with self.subTest(name):
                text = self.must("check", url(base, f"check {name}"))
                for step in STEPS:
                    outcome = "not supported" if step == "conditional write" else "ok"
                    self.assertIn(f"{step}: {outcome}", text)
                self.assertIn("verdict: usable", text)
        for why, place in (("webdav-password is wrong", url(APACHE, "basic/x", password="wrong")),
                           ("does not speak WebDAV", url(APACHE, "plain/x")),
                           ("may list, read, write", url(APACHE, "frozen/x"))):
            with self.subTest(why):
                done = self.run_tool("check", place)
                self.assertEqual(done.returncode, 1)
                self.assertIn(why, done.stdout)
        self.assert_no_secret()

    def test_what_is_wrong_is_said(self):
        cases = {
            "webdav-username or webdav-password is wrong": {"password": "an0ther"},
            "set webdav-username and webdav-password": {"user": '""', "password": '""'},
        }
        for says, changes in cases.items():
            for name, base in SERVERS.items():
                with self.subTest(says + name):
                    done = self.run_tool("ltx", "-config", self.config(base, **changes),
                                         self.writer.database)
                    self.assertEqual(done.returncode, 1)
                    self.assertIn(says, done.stderr)
                    self.assertNotIn("an0ther", done.stderr + done.stdout)
        for says, base in (("create the folder, or correct webdav-url", f"{APACHE}/basic/missing"),
                           ("does not speak WebDAV", f"{APACHE}/plain"),
                           ("127.0.0.1:1", "http://127.0.0.1:1")):
            with self.subTest(says):
                done = self.run_tool("restore", "-config", self.config(base), "-o",
                                     self.box.path("x"), self.writer.database)
                self.assertEqual(done.returncode, 1)
                self.assertIn(says, done.stderr)
                self.assertFalse(self.box.path("x").exists())
        self.assert_no_secret()

    def chaos(self, share):
        proxy = chaos_proxy.ChaosProxy(APACHE.removeprefix("http://"))
        self.addCleanup(proxy.__exit__)
        config = self.config(proxy.endpoint + share)
        direct, through = (url(base + share, self.path) for base in (APACHE, proxy.endpoint))
        plan = chaos_proxy.every(3, leave_out=NOT_HERE)
        proxy.plan = plan
        # Large enough to flow.
        self.writer.run(count=1, large_every=1, large_bytes=5_000_000, keep_bytes=1 << 40)
        process = self.start("-config", config)
        self.writer.run(rate=40, seconds=7)
        lab.kill(process)
        # It looks what is there, and is told what was there.
        proxy.plan = lambda request: "stale-list" if request.is_list() else plan(request)
        process = self.start("-config", config)
        self.writer.run(rate=40, seconds=7)
        proxy.plan = lambda request: None
        self.assertEqual(lab.stop(process, 120), 0, self.log.read_text())
        last = self.last()
        self.assertEqual(self.restore("plain.db", direct), last)
        verified = self.run_tool("verify", direct)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        # What is damaged on its way ends a restore, and nothing is left of it.
        proxy.plan = chaos_proxy.every(3, leave_out=("stale-list", "half-open", *NOT_HERE))
        restored = {self.restore(f"damaged{number}.db", through) for number in range(4)}
        self.assertLessEqual(restored, {None, last})
        # Whatever else happens, it goes on where it was.
        proxy.plan = chaos_proxy.every(3, leave_out=("stale-list", "half-open", *DAMAGE, *NOT_HERE))
        self.assertEqual(self.restore("restored.db", through), last)
        everything = {*chaos_proxy.ANY, *chaos_proxy.ANSWERS, "flip", "stale-list"}
        self.assertEqual(everything - set(proxy.seen), set(), "it has to happen to be a test")
        self.assert_no_secret()

    def test_chaos(self):
        self.chaos("/basic")

    def test_chaos_with_digest(self):
        self.chaos("/digest")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
