"""Replicates to a server and restores from it through chaos_proxy.py: nothing is lost, nothing
replaced, no wrong database restored. The test of a backend says how its server is reached."""
import time
import unittest

import chaos_proxy
import lab

DAMAGE = ("flip", "too-short")
AT_UPLOADS = {*chaos_proxy.ANY, "flip-request"}
MORE_SECONDS = 150  # Until all of that has happened, on a busy machine.
CONFIG = """
levels:
  - interval: 1s
  - interval: 3s
snapshot:
  interval: 4s
dbs:
  - path: {db}
    replica:
      url: {url}
      sync-interval: 50ms
      stall-timeout: 300ms
      part-size: 5MiB
"""


class ChaosCase(unittest.TestCase):
    """Subclasses set `url` and `secret` in setUp, behind ours."""
    options = None  # binary, writer

    def setUp(self):
        self.box = lab.Lab("chaos")
        self.addCleanup(self.box.__exit__)
        self.proxy = chaos_proxy.ChaosProxy(self.upstream())
        self.addCleanup(self.proxy.__exit__)
        self.writer = lab.Writer(self.box, self.options.writer, self.box.path("app.db"),
                                 self.box.path("journal"))
        self.log = self.box.path("log")

    def upstream(self):
        """The server's host:port."""
        raise NotImplementedError

    def environment(self, direct):
        """Leads to the server, or to the proxy."""
        raise NotImplementedError

    def look_at_server(self):
        """After it replicated."""

    def run_tool(self, *words, direct=False):
        return self.box.run([self.options.binary, *words], env=self.environment(direct))

    def restore(self, name, direct=False):
        output = self.box.path(name)
        done = self.run_tool("restore", "-o", output, self.url, direct=direct)
        if done.returncode != 0:
            self.assertFalse(output.exists(), "a failed restore leaves nothing")
            return None
        return self.writer.check(output)

    def replicate(self, seconds, plan):
        """Writes that long while it replicates, is killed, and started again; a bit of peace
        behind. The last counter."""
        self.proxy.plan = plan
        # Large enough for an upload in parts.
        self.writer.run(count=1, large_every=1, large_bytes=14_000_000, keep_bytes=1 << 40)
        config = self.box.path("litestream.yml")
        config.write_text(CONFIG.format(db=self.writer.database, url=self.url))
        process = self.start(config)
        self.writer.run(rate=40, seconds=seconds / 2)
        lab.kill(process)
        # It looks what is there, and is told what was there.
        self.proxy.plan = lambda request: "stale-list" if request.is_list() else plan(request)
        process = self.start(config)
        self.writer.run(rate=40, seconds=seconds / 2)
        deadline = time.monotonic() + MORE_SECONDS
        while not AT_UPLOADS <= set(self.proxy.seen) and time.monotonic() < deadline:
            self.writer.run(rate=40, seconds=1)
        self.proxy.plan = lambda request: None
        self.assertEqual(lab.stop(process, 120), 0, self.log.read_text())
        return self.writer.journal_lines()[-1][0]

    def start(self, config):
        return self.box.start([self.options.binary, "replicate", "-config", config], log=self.log,
                              env=self.environment(direct=False))

    def test_nothing_is_lost_and_nothing_is_wrong(self):
        last = self.replicate(14, chaos_proxy.every(3))
        happened = set(self.proxy.seen)
        self.assertEqual(self.restore("plain.db", direct=True), last)
        verified = self.run_tool("verify", self.url, direct=True)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        self.look_at_server()
        self.assertNotIn(self.secret, self.log.read_text())
        # What is damaged on its way ends a restore, and nothing is left of it. (Old lists lead to
        # a state that is old.)
        self.proxy.plan = chaos_proxy.every(3, leave_out=("stale-list", "half-open"))
        restored = {self.restore(f"damaged{number}.db") for number in range(4)}
        self.assertLessEqual(restored, {None, last})
        happened |= set(self.proxy.seen)
        # Whatever else happens, it goes on where it was.
        self.proxy.plan = chaos_proxy.every(3, leave_out=("stale-list", "half-open", *DAMAGE))
        self.assertEqual(self.restore("restored.db"), last)
        happened |= set(self.proxy.seen)
        everything = {*chaos_proxy.ANY, *chaos_proxy.ANSWERS, "flip", "flip-request", "stale-list"}
        self.assertEqual(everything - happened, set(), "it has to happen to be a test")
