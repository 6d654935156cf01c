#!/usr/bin/env python3
"""litestream check with directories and buckets; and that no secret is shown anywhere, and requests
to a bucket are counted, while it replicates."""
import argparse
import json
import os
import pathlib
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import chaos_proxy  # noqa: E402
import lab  # noqa: E402
import s3_server  # noqa: E402

OPTIONS = None
SECRETS = {"secret-access-key": "secret/of+the=file", "session-token": "token/of+the=file",
           "sse-customer-key": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}
STEPS = ["write", "list", "read", "write once", "conditional write", "delete", "clean up"]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class CheckTest(unittest.TestCase):
    def setUp(self):
        self.box = lab.Lab("check")
        self.addCleanup(self.box.__exit__)
        self.server = s3_server.S3Server(OPTIONS.server)
        self.addCleanup(self.server.close)

    def check(self, *words, endpoint=None):
        """(exit code, what it says as JSON)."""
        done = self.box.run([OPTIONS.binary, "check", "-json", *words],
                            env=self.server.environment(endpoint))
        self.assertEqual(done.stderr, "")
        return done.returncode, json.loads(done.stdout)

    def outcomes(self, checked):
        return {step["name"]: step["outcome"] for step in checked["steps"]}

    def test_directories(self):
        there = self.box.path("there")
        there.mkdir()
        (there / "other").write_text("stays")
        code, (checked,) = self.check(f"file://{there}")
        self.assertEqual((code, checked["usable"]), (0, True))
        self.assertEqual(self.outcomes(checked), {name: "ok" for name in STEPS})
        self.assertEqual([entry.name for entry in there.iterdir()], ["other"])
        code, (checked,) = self.check(f"file://{self.box.path('not')}/yet")
        self.assertEqual((code, checked["usable"]), (0, True))
        self.assertFalse(self.box.path("not").exists())
        code, (checked,) = self.check(f"file://{there}/other")
        self.assertEqual((code, checked["usable"]), (1, False))
        self.assertIn("other", checked["steps"][0]["what"])
        self.assertEqual((there / "other").read_text(), "stays")

    def test_buckets(self):
        for url in ("s3://bench/app", "s3://bench/"):
            code, (checked,) = self.check(url)
            self.assertEqual((code, checked["usable"]), (0, True), checked)
            self.assertEqual(self.outcomes(checked), {name: "ok" for name in STEPS})
            self.assertEqual(self.server.objects(), {})

    def test_a_server_that_ignores_conditions(self):
        def forget_conditions(request):
            request.headers = [(name, value) for name, value in request.headers
                               if not name.lower().startswith("if-")]

        upstream = self.server.endpoint.removeprefix("http://")
        with chaos_proxy.ChaosProxy(upstream, forget_conditions) as proxy:
            code, (checked,) = self.check("s3://bench/app", endpoint=proxy.endpoint)
            self.assertEqual((code, checked["usable"]), (0, True), checked)
            self.assertEqual(self.outcomes(checked)["conditional write"], "not supported")
            config = self.box.path("required.yml")
            config.write_text("dbs:\n  - path: /nowhere/app.db\n    replica:\n"
                              "      url: s3://bench/app\n      lease: required\n")
            code, (checked,) = self.check("-config", config, endpoint=proxy.endpoint)
            self.assertEqual((code, checked["usable"]), (1, False))
            self.assertIn("lease: required", str(checked["steps"]))
        self.assertEqual(self.server.objects(), {})

    def test_a_server_that_is_not_there(self):
        config = self.box.path("gone.yml")
        config.write_text("dbs:\n  - path: /nowhere/app.db\n    replicas:\n"
                          f"      - path: {self.box.path('replica')}\n"
                          "      - url: s3://bench/app\n"
                          f"        endpoint: http://127.0.0.1:{free_port()}\n")
        code, (good, bad) = self.check("-config", config, "-timeout", "2")
        self.assertEqual((code, good["usable"], bad["usable"]), (1, True, False))
        self.assertIn("127.0.0.1", bad["steps"][0]["what"])
        self.assertEqual(self.outcomes(bad)["read"], "not tried")

    def test_times_that_are_none(self):
        for seconds in ("0", "-1", "86401", "9223372036854775807"):
            done = subprocess.run([OPTIONS.binary, "check", "-timeout", seconds, "/nowhere"],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn("timeout must be", done.stderr + done.stdout)

    def test_no_secret_is_shown_and_requests_are_counted(self):
        database = self.box.path("app.db")
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA journal_mode=wal")
            connection.execute("CREATE TABLE t(x)")
        port = free_port()
        config = self.box.path("litestream.yml")
        keys = "".join(f"      {name}: {value}\n" for name, value in SECRETS.items())
        config.write_text(f"addr: 127.0.0.1:{port}\nlogging:\n  level: trace\ndbs:\n"
                          f"  - path: {database}\n    replica:\n      url: s3://bench/app\n"
                          f"      endpoint: {{}}\n      access-key-id: id\n{keys}")
        text = config.read_text()
        # Through what makes requests fail, so that errors are logged as well.
        with chaos_proxy.ChaosProxy(self.server.endpoint.removeprefix("http://")) as proxy:
            proxy.plan = lambda request: "503" if request.method == "PUT" else None
            config.write_text(text.format(proxy.endpoint))
            log = self.box.path("log")
            process = self.box.start([OPTIONS.binary, "replicate", "-config", config], log=log,
                                     env=self.server.environment(proxy.endpoint))
            lab.wait_for("a refused upload", lambda: proxy.seen["503"] >= 3)
            proxy.plan = lambda request: None
            lab.wait_for("the first file", lambda: self.server.newest(), 60)
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
            shown = [page]
            for words in (("status", "-v"), ("status", "-v", "-json"), ("check",), ("databases",),
                          ("ltx", database), ("restore", "-o", self.box.path("out"), database)):
                done = self.box.run([OPTIONS.binary, words[0], "-config", config, *words[1:]],
                                    env=self.server.environment(proxy.endpoint))
                self.assertEqual(done.returncode, 0, (words, done.stdout, done.stderr))
                shown.append(done.stdout + done.stderr)
            self.assertEqual(lab.stop(process), 0)
        shown.append(log.read_text())
        for secret in SECRETS.values():
            for text in shown:
                self.assertNotIn(secret, text)
        self.assertNotIn("Signature=", "".join(shown))
        for operation in ("PUT", "GET", "LIST"):
            labels = f'{{operation="{operation}",replica_type="s3"}}'
            other = f'{{replica_type="s3",operation="{operation}"}}'
            self.assertTrue(labels in page or other in page, page)

    def test_what_is_left_of_the_process_has_no_secret(self):
        """Its core dump, and the descriptors of a program that it runs."""
        database = self.box.path("app.db")
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA journal_mode=wal")
            connection.execute("CREATE TABLE t(x)")
        report = self.box.path("report")
        config = self.box.path("litestream.yml")
        keys = "".join(f"      {name}: {value}\n" for name, value in SECRETS.items())
        config.write_text(f"dbs:\n  - path: {database}\n    replica:\n      url: s3://bench/app\n"
                          f"      endpoint: {self.server.endpoint}\n      access-key-id: id\n{keys}"
                          f"exec: sh -c 'cat /proc/self/coredump_filter > {report}.tmp; ls -l"
                          f" /proc/self/fd >> {report}.tmp; mv {report}.tmp {report};"
                          " exec sleep 1000'\n")
        given = os.open(config, os.O_RDONLY)
        self.addCleanup(os.close, given)
        most = resource.getrlimit(resource.RLIMIT_CORE)[1]
        place = self.box.path("cores")
        place.mkdir()
        process = subprocess.Popen(
            [OPTIONS.binary, "replicate", "-config", config], pass_fds=[given], cwd=place,
            env=self.server.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (most, most)))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        lab.wait_for("the first file", self.server.newest, 60)
        lab.wait_for("the program's report", report.exists, 60)
        ours = pathlib.Path("/proc/self/coredump_filter").read_text().strip()
        theirs, *files = report.read_text().splitlines()
        self.assertEqual(theirs, ours)
        opened = {line.split(" -> ")[0].split()[-1] for line in files if " -> " in line}
        self.assertIn(str(given), opened)
        self.assertFalse([line for line in files if "socket:" in line], files)
        kept = pathlib.Path(f"/proc/{process.pid}/coredump_filter").read_text()
        self.assertEqual(int(kept, 16), 0)
        process.send_signal(signal.SIGABRT)
        self.assertEqual(process.wait(60), -signal.SIGABRT)
        for core in place.iterdir():  # None where the kernel puts them elsewhere.
            content = core.read_bytes()
            for secret in SECRETS.values():
                self.assertNotIn(secret.encode(), content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    parser.add_argument("--server", required=True, type=pathlib.Path)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
