#!/usr/bin/env python3
"""The program and an object store of NATS: replicate, list, verify, restore, a second writer, other
clients, directories, what is wrong, and a network that breaks.
Started by tests/support/nats_server.py, which runs the servers."""
import argparse
import json
import os
import pathlib
import sqlite3
import sys
import threading
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import lab  # noqa: E402
import nats_server  # noqa: E402
import tcp_proxy  # noqa: E402

OPTIONS = None
HOST = os.environ["LITESTREAM_TEST_NATS_HOST"]
PORT = int(HOST.rsplit(":", 1)[1])
FILES = pathlib.Path(os.environ["LITESTREAM_TEST_NATS_DIR"])
STOCK = ROOT / "node_modules/litestream-vfs-linux-amd64/litestream-vfs.so"
SECRETS = (nats_server.PASSWORD, nats_server.PASSWORD.replace("/", "%2F").replace(" ", "%20"),
           nats_server.TOKEN, nats_server.NKEY_SEED, nats_server.USER_SEED)


def make_bucket(name):
    login = {"user": nats_server.USER, "pass": nats_server.PASSWORD}
    with nats_server.Client(PORT, **login) as client:
        client.make_bucket(name)


class NatsTest(unittest.TestCase):
    def setUp(self):
        self.box = lab.Lab("nats")
        self.addCleanup(self.box.__exit__)
        self.bucket = self.id().rsplit(".", 1)[1]
        make_bucket(self.bucket)
        self.url = nats_server.url(HOST, self.bucket)
        self.db = self.box.path("app.db")
        self.log = self.box.path("log")

    def tearDown(self):
        if self.log.exists():
            self.no_secret(self.log.read_text())

    def no_secret(self, text):
        for secret in SECRETS:
            self.assertNotIn(secret, text)

    def commit(self, rows, db=None):
        connection = sqlite3.connect(db or self.db)
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("CREATE TABLE IF NOT EXISTS t(x)")
        for _ in range(rows):
            with connection:
                connection.execute("INSERT INTO t VALUES(randomblob(1000))")
        connection.close()

    def run_tool(self, *words):
        done = self.box.run([OPTIONS.binary, *words])
        self.no_secret(done.stdout + done.stderr)
        return done

    def must(self, *words):
        done = self.run_tool(*words)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def config(self, text, name="litestream.yml"):
        path = self.box.path(name)
        path.write_text(text)
        return path

    def start(self, *words):
        return self.box.start([OPTIONS.binary, "replicate", *words], log=self.log)

    def files(self, url=None):
        return self.must("ltx", url or self.url).splitlines()[1:]

    def objects(self, *words):
        """The official client's answer."""
        said = self.box.must(["node", ROOT / "tests/support/nats_objects.js", HOST,
                              nats_server.USER, nats_server.PASSWORD, self.bucket, *words])
        return json.loads(said) if words[0] == "list" else said

    def content(self, path):
        connection = sqlite3.connect(path)
        rows = connection.execute("SELECT count(*), sum(length(x)), max(x) FROM t").fetchone()
        connection.close()
        return rows

    def restored(self, url=None, name="restored.db"):
        output = self.box.path(name)
        self.must("restore", "-o", output, url or self.url)
        return self.content(output)

    def test_replicate_and_restore(self):
        self.commit(10)
        process = self.start(self.db, self.url)
        lab.wait_for("the first file", self.files)
        self.commit(20)
        self.assertEqual(lab.stop(process), 0)
        files = self.files()
        self.assertGreaterEqual(len(files), 2)
        self.assertEqual(self.restored(), self.content(self.db))
        self.must("verify", self.url)
        # From the configuration file, with a path, which does not count.
        config = self.config(
            f"dbs:\n  - path: {self.db}\n    replica:\n      type: nats\n"
            f"      url: nats://{HOST}\n      bucket: {self.bucket}\n      path: ignored\n"
            f"      nkey: {nats_server.NKEY}\n      seed: {nats_server.NKEY_SEED}\n")
        done = self.run_tool("ltx", "-config", config, self.db)
        self.assertEqual(done.stdout.splitlines()[1:], files)
        self.assertIn("the path of a nats replica does not count", done.stderr)
        text = self.log.read_text()
        self.assertNotIn("level=ERROR", text)
        self.assertNotIn("level=WARN", text)

    def test_the_official_client_reads_and_writes(self):
        self.commit(10)
        process = self.start(self.db, self.url)
        lab.wait_for("the first file", self.files)
        self.commit(300)
        self.assertEqual(lab.stop(process), 0)
        copy = self.box.path("copy")
        self.objects("copy", copy)
        self.assertEqual(self.restored(f"file://{copy}", "copied.db"), self.content(self.db))
        # The other way: what it wrote is read, at any place.
        make_bucket(self.bucket + "-back")
        self.bucket += "-back"
        back = nats_server.url(HOST, self.bucket)
        for info in sorted(copy.glob("ltx/*/*.ltx")):
            self.objects("put", info.relative_to(copy), info, "2026-01-02T03:04:05.678Z")
        self.assertEqual(self.restored(back, "back.db"), self.content(self.db))
        self.must("verify", back)
        self.assertIn("2026-01-02T03:04:05", self.must("ltx", back))
        # And what it deleted is deleted, and can be written again.
        gone = self.objects("list")[-1]["name"]
        self.objects("delete", gone)
        self.assertNotIn(gone.rsplit("/", 1)[1][:16], "".join(
            line for line in self.files(back) if line.split()[0] == gone.split("/")[1]))

    def test_stock_litestream_reads_it(self):
        """Its SQLite extension, which takes URLs."""
        self.commit(50)
        process = self.start(self.db, self.url)
        lab.wait_for("the first file", self.files)
        self.commit(50)
        self.assertEqual(lab.stop(process), 0)
        env = {**os.environ, "LITESTREAM_REPLICA_URL": self.url, "TMPDIR": str(self.box.folder),
               "LITESTREAM_LOG_FILE": str(self.box.path("extension.log"))}
        done = self.box.run(["sqlite3", "-batch", "-bail", ":memory:"], env=env, stdin=(
            f".load {STOCK.with_suffix('')}\n.open file:replica?vfs=litestream\n"
            "SELECT count(*), sum(length(x)) FROM t;\nPRAGMA integrity_check;\n"))
        self.assertEqual(done.stdout, "100|100000\nok\n", done.stderr)

    def test_metrics_count_and_show_no_secret(self):
        self.commit(3)
        port = nats_server.free_port()
        process = self.start("-config", self.config(
            f"addr: 127.0.0.1:{port}\ndbs:\n  - path: {self.db}\n    replica:\n"
            f"      url: {self.url}\n"))
        lab.wait_for("the first file", self.files)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            metrics = answer.read().decode()
        self.assertEqual(lab.stop(process), 0)
        self.no_secret(metrics)
        counted = [line for line in metrics.splitlines()
                   if line.startswith("litestream_replica_operation_total{")
                   and '"PUT"' in line and '"nats"' in line]
        self.assertTrue(counted, metrics)

    def test_the_second_writer_is_kept_away(self):
        self.commit(3)
        process = self.start(self.db, self.url)
        lab.wait_for("the first file", self.files)
        other = self.box.path("other.db")
        self.commit(1, other)
        files = self.files()
        log = self.box.path("other.log")
        second = self.box.start([OPTIONS.binary, "replicate", other, self.url], log=log)
        lab.wait_for("what the second one says",
                     lambda: "another process has the lease of the replica" in log.read_text())
        self.assertEqual(self.files()[:len(files)], files)
        self.assertNotIn("ltx file uploaded", log.read_text())
        lab.stop(second)
        self.assertEqual(lab.stop(process), 0)

    def test_check_touches_nothing(self):
        self.commit(5)
        process = self.start(self.db, self.url)
        lab.wait_for("the first file", self.files)
        self.assertEqual(lab.stop(process), 0)
        before = self.objects("list")
        self.assertGreaterEqual(len(before), 2)
        # A prefix of its own, and one that is there only as a key.
        config = self.config(
            f"dbs:\n  - path: {self.db}\n    replica:\n      url: {self.url}\n      path: app\n")
        for words in ((self.url,), (self.url + "/app",), ("-config", config)):
            said = self.must("check", *words)
            self.assertIn("verdict: usable", said)
            self.assertNotIn("not supported", said)
            self.assertEqual(self.objects("list"), before)
        self.assertEqual(self.restored(), self.content(self.db))
        done = self.run_tool("check", nats_server.url(HOST, "missing"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("must be created beforehand", done.stdout)

    def test_a_directory_in_one_bucket(self):
        """Each database gets a prefix; without one they would lie upon each other."""
        folder = self.box.path("dbs")
        folder.mkdir()
        for name in ("one.db", "two.db"):
            self.commit(len(name), folder / name)
        self.commit(7, folder / "two.db")
        config = self.config(f"dbs:\n  - dir: {folder}\n    pattern: '*.db'\n    replica:\n"
                             f"      url: {self.url}\n")
        process = self.start("-config", config)
        for name in ("one.db", "two.db"):
            lab.wait_for(f"files of {name}", lambda: self.files(f"{self.url}/{name}"))
        self.assertEqual(lab.stop(process), 0)
        self.assertEqual(self.files(), [])
        for name in ("one.db", "two.db"):
            self.assertEqual(self.restored(f"{self.url}/{name}", name), self.content(folder / name))

    def test_two_databases_do_not_share_a_place(self):
        entries = "".join(
            f"  - path: {self.box.path(name)}\n    replica:\n      type: nats\n"
            f"      url: {url}\n      bucket: {self.bucket}\n      path: {name}\n"
            for name, url in (("a.db", f"nats://{HOST}"), ("b.db", self.url)))
        for name in ("a.db", "b.db"):
            self.commit(1, self.box.path(name))
        done = self.run_tool("replicate", "-config", self.config("dbs:\n" + entries))
        self.assertEqual(done.returncode, 1)
        self.assertIn("have the same nats replica", done.stderr)

    def test_what_is_wrong_is_said(self):
        self.commit(1)
        wrong = self.url.replace(self.url.split("@")[0], "nats://litestream:SECRET-wrong")
        no_tls = self.config(
            f"dbs:\n  - path: {self.db}\n    replica:\n      url: {self.url}\n      tls: true\n")
        for words, said in (((wrong,), "check username and password"),
                            ((nats_server.url("127.0.0.1:1", "b"),), "127.0.0.1:1"),
                            ((nats_server.url(HOST, "missing"),), "must be created beforehand"),
                            ((nats_server.url(HOST, "a.b"),), "is no name of a bucket"),
                            ((f"nats://{HOST}",), "bucket required for NATS replica"),
                            (("-config", no_tls, self.db), "does not offer TLS")):
            with self.subTest(said):
                done = self.run_tool("ltx", *words)
                self.assertEqual(done.returncode, 1)
                self.assertIn(said, done.stderr)
                self.assertNotIn("SECRET", done.stderr + done.stdout)
        done = self.run_tool("restore", "-o", self.box.path("x"), self.url)
        self.assertEqual(done.returncode, 1)
        self.assertFalse(self.box.path("x").exists())

    def test_tls_and_a_domain(self):
        host = "localhost:" + os.environ["LITESTREAM_TEST_NATS_TLS_HOST"].rsplit(":", 1)[1]
        self.commit(5)
        # Only with TLS: the stream is made by the program's own library in the contract tests.
        config = self.config(
            f"dbs:\n  - path: {self.db}\n    replica:\n      url: nats://{host}/missing\n"
            f"      token: {nats_server.TOKEN}\n      root-cas: [{FILES}/ca.pem]\n"
            f"      client-cert: {FILES}/client.pem\n      client-key: {FILES}/client.key\n"
            "      domain: hub\n")
        done = self.run_tool("ltx", "-config", config, self.db)
        self.assertEqual(done.returncode, 1)
        self.assertIn("must be created beforehand", done.stderr)

    def test_a_stop_is_quick_when_nobody_answers(self):
        """The server takes the connection and says nothing more."""
        self.commit(3)
        proxy = tcp_proxy.TcpProxy(("127.0.0.1", PORT))
        self.addCleanup(proxy.__exit__)
        url = nats_server.url(f"127.0.0.1:{proxy.port}", self.bucket)
        process = self.start(self.db, url)
        lab.wait_for("the first file", self.files)
        proxy.freeze()
        self.commit(3)
        # It waits for an answer by now, or soon.
        lab.wait_for("the connection", proxy.open_connections)
        process.terminate()
        process.terminate()  # The second signal: do not wait for the last upload.
        process.wait(timeout=20)

    def test_chaos(self):
        """Nothing is lost and no wrong database comes out, whatever the network does."""
        proxy = tcp_proxy.TcpProxy(("127.0.0.1", PORT), tcp_proxy.each(step=200_000))
        self.addCleanup(proxy.__exit__)
        url = nats_server.url(f"127.0.0.1:{proxy.port}", self.bucket)
        writer = lab.Writer(self.box, OPTIONS.writer, self.box.path("w.db"),
                            self.box.path("journal"))
        writer.run(count=1, large_every=1, large_bytes=6_000_000, keep_bytes=1 << 40)
        config = self.config(
            "levels:\n  - interval: 1s\n  - interval: 3s\nsnapshot:\n  interval: 4s\n"
            f"dbs:\n  - path: {writer.database}\n    replica:\n      url: {url}\n"
            "      sync-interval: 50ms\n      stall-timeout: 500ms\n      reconnect-wait: 50ms\n"
            "      timeout: 1s\n")
        process = self.start("-config", config)
        cutter = threading.Event()

        def cut():
            while not cutter.wait(0.7):
                proxy.cut()

        cuts = threading.Thread(target=cut)
        cuts.start()
        try:
            writer.run(rate=40, seconds=6)
            lab.kill(process)
            process = self.start("-config", config)
            writer.run(rate=40, seconds=6)
        finally:
            cutter.set()
            cuts.join()
        proxy.plan = lambda number: None
        proxy.cut()
        self.assertEqual(lab.stop(process, 120), 0, self.log.read_text())
        last = writer.journal_lines()[-1][0]
        output = self.box.path("plain.db")
        self.must("restore", "-o", output, self.url)
        self.assertEqual(writer.check(output), last)
        self.must("verify", self.url)
        # Restores through it, too.
        proxy.connections = 0
        proxy.plan = tcp_proxy.each(step=400_000)
        complete = 0
        for number in range(6):
            output = self.box.path(f"restored{number}.db")
            done = self.run_tool("restore", "-config", config, "-o", output, writer.database)
            if done.returncode != 0:
                self.assertFalse(output.exists(), "a failed restore leaves nothing")
                continue
            self.assertEqual(writer.check(output), last)
            complete += 1
        self.assertGreater(complete, 0)
        self.assertEqual(set(tcp_proxy.KINDS) - set(proxy.seen), set(), "it has to happen")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
