#!/usr/bin/env python3
"""GET /metrics of the running program: what it says, that it moves with real commits, and that
nobody who can reach the port does replication any harm."""
import argparse
import http.client
import pathlib
import re
import socket
import sqlite3
import sys
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import lab  # noqa: E402

# The table of the reference: type and labels.
TABLE = {
    "litestream_db_size": ("gauge", {"db"}),
    "litestream_wal_size": ("gauge", {"db"}),
    "litestream_total_wal_bytes": ("counter", {"db"}),
    "litestream_txid": ("gauge", {"db"}),
    "litestream_sync_count": ("counter", {"db"}),
    "litestream_sync_error_count": ("counter", {"db"}),
    "litestream_sync_seconds": ("counter", {"db"}),
    "litestream_disk_full": ("gauge", {"db"}),
    "litestream_checkpoint_count": ("counter", {"db", "mode"}),
    "litestream_checkpoint_error_count": ("counter", {"db", "mode"}),
    "litestream_checkpoint_seconds": ("counter", {"db", "mode"}),
    "litestream_compaction_verify_error_count": ("counter", {"db"}),
    "litestream_l0_retention_files_total": ("gauge", {"db", "status"}),
    "litestream_replica_operation_total": ("counter", {"replica_type", "operation"}),
    "litestream_replica_operation_bytes": ("counter", {"replica_type", "operation"}),
    "litestream_replica_operation_duration_seconds": ("histogram", {"replica_type", "operation"}),
}
PROCESS = {"process_cpu_seconds_total", "process_open_fds", "process_max_fds",
           "process_virtual_memory_bytes", "process_virtual_memory_max_bytes",
           "process_resident_memory_bytes", "process_start_time_seconds"}
BUCKETS = ["0.01", "0.05", "0.1", "0.5", "1", "5", "10", "30", "60", "+Inf"]
SAMPLE = re.compile(r'^([a-z0-9_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Page:
    """A page taken apart, by the rules of the format."""

    def __init__(self, text):
        assert text.endswith("\n"), text[-100:]
        self.types = {}
        self.samples = {}
        family = None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                continue
            if line.startswith("# TYPE "):
                family, kind = line.split()[2:]
                assert family not in self.types, f"{family} twice"
                self.types[family] = kind
                continue
            match = SAMPLE.match(line)
            assert match, line
            name, labels, value = match.groups()
            assert name.startswith(family), line
            key = (name, frozenset(LABEL.findall(labels or "")))
            assert key not in self.samples, f"{line} twice"
            self.samples[key] = float(value)

    def all(self, metric, **labels):
        """Label sets and values of the series that have these labels."""
        wanted = set(labels.items())
        return {key[1]: value for key, value in self.samples.items()
                if key[0] == metric and wanted <= key[1]}

    def get(self, metric, **labels):
        found = self.all(metric, **labels)
        return next(iter(found.values())) if len(found) == 1 else None


class MetricsTest(unittest.TestCase):
    binary = None

    def setUp(self):
        self.box = self.enterContext(lab.Lab("metrics"))
        self.tool = lab.Litestream(self.box, self.binary)
        self.log = self.box.path("log")

    def database(self, name):
        self.box.path(name).parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.box.path(name), isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t(x)")
        return connection

    def start(self, dbs, addr="127.0.0.1:0", more=""):
        config = self.box.path("litestream.yml")
        config.write_text(f"addr: {addr}\n{more}dbs:\n{dbs}")
        self.process = self.tool.replicate_config(config, log=self.log)
        pattern = re.compile(r'msg="serving metrics on" url=http://([^/]*):(\d+)/metrics')
        lab.wait_for("the address", lambda: pattern.search(self.log.read_text()))
        host, port = pattern.search(self.log.read_text()).groups()
        self.address = (host, int(port))
        return self.process

    def one(self, addr="127.0.0.1:0", more=""):
        connection = self.database("app.db")
        self.start(f"  - path: {self.box.path('app.db')}\n"
                   f"    replica: {{path: {self.box.path('replica')}}}\n", addr, more)
        self.wait_level()
        return connection

    def fetch(self):
        with urllib.request.urlopen("http://%s:%d/metrics" % self.address, timeout=60) as answer:
            self.assertEqual(answer.headers["Content-Type"],
                             "text/plain; version=0.0.4; charset=utf-8")
            return Page(answer.read().decode())

    def wait_page(self, what, condition):
        pages = []

        def holds():
            pages.append(self.fetch())
            return condition(pages[-1])
        lab.wait_for(what, holds)
        return pages[-1]

    def wait_level(self, txid=1):
        return self.wait_page(f"transaction {txid} on the replica", lambda page: (
            (page.get("litestream_txid") or 0) >= txid
            and page.get("litestream_replica_txid") == page.get("litestream_txid")))

    def request(self, text):
        """Sends bytes; what comes back until the other side closes."""
        with socket.create_connection(self.address, timeout=60) as connection:
            try:
                connection.sendall(text)
                answer = b""
                while piece := connection.recv(65536):
                    answer += piece
            except (ConnectionResetError, BrokenPipeError):
                pass
            return answer

    def test_the_table(self):
        connection = self.one(more="levels: [{interval: 1s}]\n")
        before = self.fetch()
        for i in range(1100):  # min-checkpoint-page-count
            connection.execute("INSERT INTO t VALUES(randomblob(3000))")
        page = self.wait_page("a checkpoint and a merge", lambda page: (
            page.get("litestream_checkpoint_count", mode="PASSIVE")
            and page.all("litestream_l0_retention_files_total")
            and page.get("litestream_replica_lag_seconds") == 0))
        database = str(self.box.path("app.db"))
        for name, (kind, labels) in TABLE.items():
            with self.subTest(name):
                if name == "litestream_checkpoint_error_count" and name not in page.types:
                    continue
                self.assertEqual(page.types[name], kind)
                sample = name + "_count" if kind == "histogram" else name
                self.assertTrue(page.all(sample))
                for found in page.all(sample):
                    self.assertEqual({label for label, _ in found}, labels)
                    if "db" in labels:
                        self.assertIn(("db", database), found)
        for name in ("total_wal_bytes", "txid", "sync_count", "sync_seconds", "db_size"):
            self.assertGreater(page.get("litestream_" + name), before.get("litestream_" + name),
                               name)
        self.assertGreater(page.get("litestream_total_wal_bytes"), 1100 * 4096)
        for operation in ("PUT", "LIST"):
            labels = {"replica_type": "file", "operation": operation}
            self.assertGreater(page.get("litestream_replica_operation_total", **labels), 0)
            name = "litestream_replica_operation_duration_seconds"
            count = page.get(name + "_count", **labels)
            buckets = [page.get(name + "_bucket", le=bound, **labels) for bound in BUCKETS]
            self.assertEqual(buckets, sorted(buckets))
            self.assertEqual(buckets[-1], count)
        put = {"operation": "PUT"}
        self.assertGreater(page.get("litestream_replica_operation_bytes", **put),
                           before.get("litestream_replica_operation_bytes", **put))
        self.assertLessEqual(PROCESS, set(page.types))
        self.assertGreater(page.get("process_resident_memory_bytes"), 1 << 20)
        self.assertEqual(page.get("litestream_last_proven_txid"),
                         page.get("litestream_replica_txid"))
        self.assertEqual(page.get("litestream_checkpoint_blocked"), 0)
        self.assertEqual(lab.stop(self.process), 0)

    def test_a_replica_that_fails(self):
        connection = self.one()
        page = self.fetch()
        self.assertEqual(page.get("litestream_replica_failing"), 0)
        level0 = self.box.path("replica/ltx/0")
        level0.rename(self.box.path("away"))
        level0.write_text("in the way")
        connection.execute("INSERT INTO t VALUES(1)")
        page = self.wait_page("the failure",
                              lambda page: page.get("litestream_replica_failing") == 1)
        self.assertGreater(page.get("litestream_replica_lag_seconds"), 0)
        self.assertLess(page.get("litestream_last_proven_txid"), page.get("litestream_txid"))
        self.assertTrue(page.all("litestream_replica_operation_errors_total"))
        for labels in page.all("litestream_replica_operation_errors_total"):
            self.assertEqual({label for label, _ in labels}, {"replica_type", "operation", "code"})
        level0.unlink()
        self.box.path("away").rename(level0)
        page = self.wait_page("the recovery",
                              lambda page: page.get("litestream_replica_failing") == 0
                              and page.get("litestream_replica_lag_seconds") == 0)
        self.assertEqual(page.get("litestream_replica_txid"), page.get("litestream_txid"))
        self.assertEqual(lab.stop(self.process), 0)

    def test_series_of_a_database_go_with_it(self):
        self.database("dbs/a.db")
        self.database("dbs/it's \"b\" \\.db")
        self.start(f"  - dir: {self.box.path('dbs')}\n    pattern: '*.db'\n    watch: true\n"
                   f"    replicas:\n      - path: {self.box.path('r1')}\n"
                   f"      - path: {self.box.path('r2')}\n")
        page = self.wait_page("both", lambda page: len(page.all("litestream_txid")) == 2)
        # Two replicas of one name are told apart.
        names = {dict(labels)["replica"] for labels in page.all("litestream_replica_txid")}
        self.assertEqual(names, {"file", "file-2"})
        self.wait_page("uploads", lambda page: all(
            value == 1 for value in page.all("litestream_replica_txid").values()))
        self.box.path("dbs/it's \"b\" \\.db").unlink()
        page = self.wait_page("the end of one", lambda page: len(page.all("litestream_txid")) == 1)
        of_it = [key for key in page.samples if any("it's" in value for _, value in key[1])]
        self.assertEqual(of_it, [])
        self.assertEqual(lab.stop(self.process), 0)

    def test_an_address_that_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.database("app.db")
            config = self.box.path("litestream.yml")
            config.write_text(f"addr: 127.0.0.1:{port}\ndbs:\n  - path: {self.box.path('app.db')}\n"
                              f"    replica: {{path: {self.box.path('replica')}}}\n")
            done = self.box.run([self.tool.binary, "replicate", "-config", config])
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"Error: cannot start metrics server: listen on 127.0.0.1:{port}: "
                      "Address already in use (another process uses it", done.stderr)
        self.assertFalse(self.box.path("replica").exists())

    def test_requests(self):
        self.one(addr="localhost:0")
        get = self.request(b"GET /metrics?x=1 HTTP/1.0\r\n\r\n")
        head, _, body = get.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
        self.assertNotIn(b"chunked", head)
        self.assertEqual(Page(body.decode()).get("litestream_txid"), 1)
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        self.addCleanup(connection.close)
        for method, path, status in (("HEAD", "/metrics", 200), ("GET", "/", 404),
                                     ("GET", "/metrics/", 404), ("POST", "/metrics", 405)):
            connection.request(method, path)
            answer = connection.getresponse()
            self.assertEqual(answer.status, status, (method, path))
            answer.read()
            connection.close()
        for text in (b"\r\n\r\n", b"GET /metrics\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n",
                     b"\x16\x03\x01\x02\x00" + bytes(300) + b"\r\n\r\n", b"GET x HTTP/1.1\r\n\r\n"):
            self.assertTrue(self.request(text).startswith(b"HTTP/1.1 400 "), text)
        self.assertTrue(self.request(b"GET / HTTP/2.0\r\n\r\n").startswith(b"HTTP/1.1 505 "))
        self.assertEqual(lab.stop(self.process), 0)

    def thread(self, name):
        """The folder of a thread in /proc."""
        for folder in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            if (folder / "comm").read_text().strip() == name:
                return folder
        return self.fail(f"no thread {name}")

    def switches(self):
        text = (self.thread("metrics") / "status").read_text()
        return sum(int(number) for number in re.findall(r"ctxt_switches:\s*(\d+)", text))

    def test_nobody_asks_nobody_wakes(self):
        connection = self.one()
        self.assertEqual(self.request(b""), b"")
        lab.wait_for("the end of all connections", lambda: self.sockets() == 1)
        lab.wait_for("its sleep",
                     lambda: "State:\tS" in (self.thread("metrics") / "status").read_text())
        before = self.switches()
        files = len(lab.replica_files(self.box.path("replica")))
        for i in range(5):
            connection.execute("INSERT INTO t VALUES(1)")
            lab.wait_for("an upload",
                         lambda: len(lab.replica_files(self.box.path("replica"))) > files)
            files = len(lab.replica_files(self.box.path("replica")))
        self.assertEqual(self.switches(), before)
        self.assertEqual(lab.stop(self.process), 0)
        # Without an address there is nothing of it.
        process = self.tool.replicate(self.box.path("app.db"), self.box.path("replica"))
        lab.wait_for("threads", lambda: len(list(
            pathlib.Path(f"/proc/{process.pid}/task").iterdir())) > 3)
        names = [(folder / "comm").read_text() for folder in
                 pathlib.Path(f"/proc/{process.pid}/task").iterdir()]
        self.assertNotIn("metrics\n", names)
        self.assertEqual(lab.stop(process), 0)

    def sockets(self):
        fds = pathlib.Path(f"/proc/{self.process.pid}/fd")
        links = []
        for fd in fds.iterdir():
            try:
                links.append(str(fd.readlink()))
            except OSError:
                pass
        return sum(link.startswith("socket:") for link in links)

    def resident(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s*(\d+) kB", text)[1]) * 1024

    def replicates(self, connection):
        """A commit now is on the replica soon, and what is there restores."""
        row = connection.execute("INSERT INTO t VALUES(1) RETURNING rowid").fetchone()[0]

        def arrived():
            copy = self.box.path("copy")
            if self.tool.restore(self.box.path("replica"), copy).returncode != 0:
                return False
            other = sqlite3.connect(copy)
            rows = other.execute("SELECT count(*) FROM t").fetchone()[0]
            other.close()
            copy.unlink()
            return rows == row
        lab.wait_for("a commit on the replica", arrived, step=0.2)

    def hostile(self, send):
        connection = socket.socket()
        self.addCleanup(connection.close)
        connection.settimeout(60)
        try:
            connection.connect(self.address)
            send(connection)
        except (ConnectionResetError, BrokenPipeError, BlockingIOError, TimeoutError):
            pass
        return connection

    def test_hostile_clients(self):
        connection = self.one()
        resident = self.resident()
        # A head without an end, as fast as it goes.
        for piece in (b"x" * 65536, b"GET /metrics HTTP/1.1\r\nA: " + b"b" * 65536,
                      b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 20000, bytes(range(256)) * 256):
            self.hostile(lambda s, p=piece: [s.sendall(p) for _ in range(100)])
        answer = self.request(b"GET /metrics HTTP/1.1\r\nA: " + b"b" * 9000 + b"\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 431 "), answer[:100])
        self.replicates(connection)
        # A thousand that say nothing, or half of something, and stay.
        held = []
        for i in range(1000):
            held.append(socket.socket())
            held[-1].setblocking(False)
            try:
                held[-1].connect(self.address)
            except BlockingIOError:
                pass
        self.assertLessEqual(self.sockets(), 40)
        self.replicates(connection)
        # Some ask, and do not read.
        for one in held:
            try:
                one.send(b"GET /metrics HTTP/1.1\r\n" + (b"\r\n" if id(one) % 2 else b"A: "))
            except OSError:
                pass
        self.replicates(connection)
        self.assertLessEqual(self.sockets(), 40)
        for one in held:
            one.close()
        page = self.wait_level()
        self.assertGreater(page.get("litestream_txid"), 3)
        self.assertLess(self.resident() - resident, 16 << 20)
        self.assertNotIn("level=ERROR", self.log.read_text())
        # A stop waits for nobody.
        self.hostile(lambda s: s.sendall(b"GET "))
        self.assertEqual(lab.stop(self.process), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer")
    arguments, rest = parser.parse_known_args()
    MetricsTest.binary = pathlib.Path(arguments.binary).resolve()
    unittest.main(argv=[sys.argv[0], *rest])
