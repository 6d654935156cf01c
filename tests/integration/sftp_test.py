#!/usr/bin/env python3
"""The program and SFTP servers (OpenSSH, rclone): replicate with a live writer, list, verify,
restore, check; what is wrong is said, and no secret with it; a network that cuts, freezes and is
slow (tests/support/tcp_proxy.py); and readers that are not ours. Started by
tests/support/sftp_server.py, which runs the servers."""
import argparse
import os
import pathlib
import re
import shutil
import socket
import sys
import time
import unittest
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import lab  # noqa: E402
import tcp_proxy  # noqa: E402

OPTIONS = None
SERVERS = pathlib.Path(os.environ["LITESTREAM_TEST_SFTP_DIR"])
EXTENSION = ROOT / "node_modules/litestream-vfs-linux-amd64/litestream-vfs.so"


def setting(name):
    return (SERVERS / name).read_text().strip()


PASSWORD = setting("rclone.password")
PASSPHRASE = setting("passphrase")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class SftpTest(unittest.TestCase):
    def setUp(self):
        self.box = lab.Lab("sftp")
        self.addCleanup(self.box.__exit__)
        self.name = self.id().rsplit(".", 1)[-1]
        self.writer = lab.Writer(self.box, OPTIONS.writer, self.box.path("app.db"),
                                 self.box.path("journal"))
        self.log = self.box.path("log")
        home = self.box.path("home")
        (home / ".ssh").mkdir(parents=True)
        self.environment = {name: value for name, value in os.environ.items()
                            if name not in ("SSH_AUTH_SOCK", "LOG_LEVEL")}
        self.environment["HOME"] = str(home)

    # --- What belongs to each server.
    def folder(self, server):
        """The replica as the server's own disk has it."""
        return pathlib.Path(setting(f"{server}.root")) / self.name

    def path(self, server):
        return str(self.folder("sshd")) if server == "sshd" else f"/{self.name}"

    def keys(self, server, port=None):
        """The replica's keys in a configuration."""
        keys = {"type": "sftp", "host": f"127.0.0.1:{port or setting(server + '.port')}",
                "user": setting(f"{server}.user"), "path": self.path(server)}
        if server == "sshd":
            keys |= {"key-path": str(SERVERS / "key"), "host-key": setting("host_key.pub")}
        else:
            keys["password"] = PASSWORD
        return keys

    def url(self, server, port=None):
        """Only rclone's says all in a URL: keys of OpenSSH are in the agent."""
        port = port or setting(f"{server}.port")
        secret = ":" + urllib.parse.quote(PASSWORD, safe="") if server == "rclone" else ""
        return f"sftp://{setting(server + '.user')}{secret}@127.0.0.1:{port}{self.path(server)}"

    def config(self, keys, extra="", head=""):
        """A configuration file with one database and one replica."""
        path = self.box.path("litestream.yml")
        lines = "".join(f"      {name}: {value}\n" for name, value in keys.items())
        path.write_text(f"{head}dbs:\n  - path: {self.writer.database}\n    replica:\n{lines}"
                        f"{extra}")
        return path

    # --- The program.
    def run_tool(self, *words, **more):
        return self.box.run([OPTIONS.binary, *words], env={**self.environment, **more})

    def must(self, *words):
        return self.box.must([OPTIONS.binary, *words], env=self.environment)

    def start(self, *words):
        return self.box.start([OPTIONS.binary, "replicate", *words], log=self.log,
                              env=self.environment)

    def with_agent(self, key):
        """An ssh-agent that holds the key, for what is started from now on."""
        sock = self.box.path("agent")
        agent = self.box.start(["ssh-agent", "-D", "-a", sock])
        self.addCleanup(lambda: lab.stop(agent))
        lab.wait_for("the agent", sock.exists)
        self.environment["SSH_AUTH_SOCK"] = str(sock)
        self.box.must(["ssh-add", "-q", SERVERS / key], env=self.environment)

    def last(self):
        return self.writer.journal_lines()[-1][0]

    def restored(self, *words):
        output = self.box.path(f"restored-{len(words)}-{time.monotonic_ns()}.db")
        self.must("restore", "-o", output, *words)
        return self.writer.check(output)

    # --- Tests.
    def replicate_and_restore(self, server):
        config = self.config(self.keys(server), "      sync-interval: 100ms\n")
        process = self.start("-config", config)
        self.writer.run(rate=50, seconds=4)
        self.assertEqual(lab.stop(process), 0, self.log.read_text())
        self.assertEqual(self.restored("-config", config, self.writer.database), self.last())
        self.must("verify", "-config", config, self.writer.database)
        files = self.must("ltx", "-config", config, self.writer.database).splitlines()[1:]
        self.assertGreaterEqual(len(files), 2)
        text = self.log.read_text()
        self.assertNotIn("level=ERROR", text)
        # Another way to the same place.
        if server == "sshd":
            self.with_agent("rsa_key")
        self.assertEqual(self.must("ltx", self.url(server)).splitlines()[1:], files)
        self.assertEqual(self.restored(self.url(server)), self.last())
        # A copy of the files is a replica, too.
        copy = self.box.path("copy")
        shutil.copytree(self.folder(server), copy)
        self.assertEqual(self.restored(f"file://{copy}"), self.last())

    def test_openssh(self):
        self.replicate_and_restore("sshd")
        self.assertNotIn("level=WARN", self.log.read_text())

    def test_rclone(self):
        self.replicate_and_restore("rclone")
        text = self.log.read_text()
        self.assertIn("sftp host key not verified", text)
        self.assertIn("no conditional writes here", text)

    def test_a_url_replicates(self):
        process = self.start(self.writer.database, self.url("rclone"))
        self.writer.run(rate=50, seconds=2)
        self.assertEqual(lab.stop(process), 0, self.log.read_text())
        self.assertEqual(self.restored(self.url("rclone")), self.last())
        self.assertNotIn(PASSWORD, self.log.read_text())

    def test_restore_to_a_moment(self):
        config = self.config(self.keys("sshd"), "      sync-interval: 50ms\n")
        process = self.start("-config", config)
        self.writer.run(rate=50, seconds=3)
        self.assertEqual(lab.stop(process), 0, self.log.read_text())
        # The times of the files, from their headers: the server has whole seconds only.
        times = sorted({int.from_bytes(file.read_bytes()[32:40], "big")
                        for file in self.folder("sshd").rglob("*.ltx")})
        self.assertGreater(len(times), 3)
        before = -1
        for time_ms in times[1:]:
            output = self.box.path(f"at-{time_ms}.db")
            self.must("restore", "-config", config, "-timestamp", lab.format_time(time_ms / 1000),
                      "-o", output, self.writer.database)
            reached = self.writer.check(output)
            self.assertGreater(reached, before, "each moment has a file more than the one before")
            before = reached
        self.assertLess(before, self.last(), "what is of that very moment is left out")

    def test_the_second_writer_is_kept_away(self):
        self.with_agent("key")
        self.writer.run(count=3)
        process = self.start(self.writer.database, self.url("sshd"))
        lab.wait_for("the first file",
                     lambda: self.must("ltx", self.url("sshd")).splitlines()[1:])
        self.assertTrue((self.folder("sshd") / "lock.json.d").is_dir())
        other = lab.Writer(self.box, OPTIONS.writer, self.box.path("other.db"),
                           self.box.path("other-journal"))
        other.run(count=1)
        log = self.box.path("other.log")
        second = self.box.start([OPTIONS.binary, "replicate", other.database, self.url("sshd")],
                                log=log, env=self.environment)
        lab.wait_for("what the second one says",
                     lambda: "another process has the lease of the replica" in log.read_text())
        self.assertNotIn("ltx file uploaded", log.read_text())
        # A stop would wait for the lease, and get it when the first one's has run out.
        lab.kill(second)
        self.assertEqual(lab.stop(process), 0)
        self.assertEqual(self.restored(self.url("sshd")), self.last())

    def test_check(self):
        self.with_agent("key")
        said = self.must("check", self.url("sshd"))
        self.assertIn("verdict: usable", said)
        self.assertIn("conditional write: ok", said)
        said = self.must("check", self.url("rclone"))
        self.assertIn("verdict: usable", said)
        self.assertIn("conditional write: not supported", said)
        for server in ("sshd", "rclone"):
            left = [str(path) for path in self.folder(server).rglob("*")]
            self.assertEqual(left, [], "nothing is left behind")

    def test_what_is_wrong_is_said(self):
        self.writer.run(count=1)
        rclone, sshd = self.keys("rclone"), self.keys("sshd")
        cases = (
            (rclone | {"password": "of+another"}, "refused the password"),
            (rclone | {"host": "127.0.0.1:1"}, "127.0.0.1:1"),
            (rclone | {"host": "no-such-host.invalid"}, "find host no-such-host.invalid"),
            (rclone | {"host": "127.0.0.1:x"}, "is no host, HOST:PORT"),
            (sshd | {"key-path": SERVERS / "foreign_key"}, "foreign_key"),
            (sshd | {"key-path": SERVERS / "none"}, "cannot read it"),
            (sshd | {"key-path": SERVERS / "locked_key"}, "it is encrypted"),
            (sshd | {"host-key": setting("foreign_key.pub")}, "ssh: host key mismatch"),
            (sshd | {"host-key": "nonsense"}, "cannot parse sftp host key"),
            ({name: value for name, value in rclone.items() if name != "user"},
             "user required for sftp replica"),
            ({name: value for name, value in rclone.items() if name != "host"},
             "host required for sftp replica"),
            (rclone | {"url": self.url("rclone")}, "cannot specify url & "),
        )
        for keys, word in cases:
            with self.subTest(word):
                done = self.run_tool("ltx", "-config", self.config(keys), self.writer.database)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(word, done.stderr)
                for secret in (PASSWORD, PASSPHRASE, "of+another"):
                    self.assertNotIn(secret, done.stderr + done.stdout)
        keys = sshd | {"key-path": SERVERS / "locked_key", "password": PASSPHRASE}
        self.must("ltx", "-config", self.config(keys), self.writer.database)

    def test_no_secret_is_shown_and_requests_are_counted(self):
        port = free_port()
        with tcp_proxy.TcpProxy(("127.0.0.1", int(setting("rclone.port")))) as proxy:
            config = self.config(self.keys("rclone", proxy.port), "      sync-interval: 50ms\n",
                                 head=f"addr: 127.0.0.1:{port}\nlogging:\n  level: trace\n")
            process = self.start("-config", config)
            self.writer.run(rate=50, seconds=1)
            # Errors are logged as well.
            proxy.plan = lambda number: tcp_proxy.trouble("refuse")
            proxy.cut()
            self.writer.run(rate=50, seconds=1)
            lab.wait_for("an error", lambda: "sftp" in self.log.read_text()
                         and "level=ERROR" in self.log.read_text(), 60)
            proxy.plan = lambda number: None
            shown = [urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()]
            for words in (("status", "-v"), ("check",), ("databases",),
                          ("ltx", self.writer.database),
                          ("restore", "-o", self.box.path("out"), self.writer.database)):
                done = self.run_tool(words[0], "-config", config, *words[1:])
                self.assertEqual(done.returncode, 0, (words, done.stdout, done.stderr))
                shown.append(done.stdout + done.stderr)
            self.assertEqual(lab.stop(process), 0)
        shown.append(self.log.read_text())
        for text in shown:
            self.assertNotIn(PASSWORD, text)
            self.assertNotIn(urllib.parse.quote(PASSWORD, safe=""), text)
        for operation in ("PUT", "LIST"):
            self.assertTrue(re.search(rf'operation="{operation}",replica_type="sftp"|'
                                      rf'replica_type="sftp",operation="{operation}"', shown[0]),
                            shown[0])

    def test_an_idle_replica_holds_no_connection(self):
        # Tested with the program's own time only as far as it goes: none is opened at the start.
        with tcp_proxy.TcpProxy(("127.0.0.1", int(setting("rclone.port")))) as proxy:
            config = self.config(self.keys("rclone", proxy.port))
            process = self.start("-config", config)
            lab.wait_for("the start", lambda: "initialized db" in self.log.read_text())
            self.assertEqual(proxy.connections, 0)
            self.assertEqual(lab.stop(process), 0)

    def through_chaos(self, server):
        upstream = ("127.0.0.1", int(setting(f"{server}.port")))
        direct = self.keys(server)
        extra = ("      sync-interval: 50ms\n      stall-timeout: 300ms\n")
        head = ("levels:\n  - interval: 1s\n  - interval: 3s\nsnapshot:\n  interval: 4s\n")
        with tcp_proxy.TcpProxy(upstream) as proxy:
            self.writer.run(count=1, large_every=1, large_bytes=8_000_000, keep_bytes=1 << 40)
            proxy.plan = tcp_proxy.each()
            config = self.config(self.keys(server, proxy.port), extra, head)
            process = self.start("-config", config)
            self.writer.run(rate=40, seconds=8)
            lab.kill(process)
            process = self.start("-config", config)
            self.writer.run(rate=40, seconds=8)
            proxy.plan = lambda number: None
            self.assertEqual(lab.stop(process, 120), 0, self.log.read_text()[-5000:])
            last = self.last()
            happened = set(proxy.seen)
            # Restores through the same, each as far as it gets: never a wrong database.
            proxy.plan = tcp_proxy.each(first=40_000, step=400_000)
            ended = set()
            for number in range(6):
                output = self.box.path(f"through-{number}.db")
                done = self.run_tool("restore", "-config", config, "-o", output,
                                     self.writer.database)
                if done.returncode != 0:
                    self.assertFalse(output.exists(), "a failed restore leaves nothing")
                    continue
                ended.add(self.writer.check(output))
            self.assertEqual(ended, {last}, proxy.seen)
            happened |= set(proxy.seen)
            self.assertEqual(set(tcp_proxy.KINDS) - happened, set(),
                             "it has to happen to be a test")
        config = self.config(direct, extra, head)
        self.assertEqual(self.restored("-config", config, self.writer.database), last)
        self.must("verify", "-config", config, self.writer.database)
        self.assertNotIn(PASSWORD, self.log.read_text())

    def test_through_chaos_to_openssh(self):
        self.through_chaos("sshd")

    def test_through_chaos_to_rclone(self):
        self.through_chaos("rclone")

    def test_a_stop_does_not_wait_for_a_network_that_stands_still(self):
        with tcp_proxy.TcpProxy(("127.0.0.1", int(setting("sshd.port")))) as proxy:
            config = self.config(self.keys("sshd", proxy.port), "      sync-interval: 50ms\n",
                                 head="shutdown-sync-timeout: 1s\n")
            process = self.start("-config", config)
            self.writer.run(rate=50, seconds=1)
            lab.wait_for("a file", lambda: list(self.folder("sshd").rglob("*.ltx")))
            proxy.plan = lambda number: tcp_proxy.trouble("half-open", 1)
            proxy.freeze()
            self.writer.run(rate=50, seconds=1)
            # Without an end of its own it would wait for a minute.
            self.assertIn(lab.stop(process, 45), (0, 1))

    # --- Readers that are not ours.
    def test_rclone_copies_a_replica(self):
        config = self.config(self.keys("sshd"))
        process = self.start("-config", config)
        self.writer.run(rate=50, seconds=2)
        self.assertEqual(lab.stop(process), 0, self.log.read_text())
        copy = self.box.path("copy")
        remote = (f":sftp,host=127.0.0.1,port={setting('sshd.port')},user={setting('sshd.user')},"
                  f"key_file={SERVERS / 'key'}:{self.path('sshd')}")
        self.box.must(["rclone", "copy", "--config", self.box.path("rclone.conf"), remote, copy],
                      env=self.environment)
        self.assertEqual(self.restored(f"file://{copy}"), self.last())

    def test_stock_litestream_reads_a_replica(self):
        config = self.config(self.keys("rclone"))
        process = self.start("-config", config)
        self.writer.run(rate=50, seconds=2)
        self.assertEqual(lab.stop(process), 0, self.log.read_text())
        script = (f".load {EXTENSION.with_suffix('')}\n.open file:replica?vfs=litestream\n"
                  "PRAGMA integrity_check;\n.dump\n")
        done = self.box.run(["sqlite3", "-batch", "-bail", ":memory:"], stdin=script, env={
            **self.environment, "LITESTREAM_REPLICA_URL": self.url("rclone"),
            "LITESTREAM_LOG_FILE": str(self.box.path("extension.log")),
            "TMPDIR": str(self.box.folder)})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        first, *dump = done.stdout.splitlines()
        self.assertEqual(first, "ok")
        own = self.box.must(["sqlite3", self.writer.database, ".dump"]).splitlines()
        self.assertEqual(sorted(dump), sorted(own))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
