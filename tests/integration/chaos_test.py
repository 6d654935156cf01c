#!/usr/bin/env python3
"""Replicates to a bucket and restores from it through a network that does what networks do
(tests/support/chaos_proxy.py): nothing is lost, nothing replaced, no wrong database restored."""
import argparse
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import chaos_proxy  # noqa: E402
import lab  # noqa: E402
import oss_server  # noqa: E402
import s3_server  # noqa: E402

OPTIONS = None
DAMAGE = ("flip", "too-short")
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


class ChaosTest(unittest.TestCase):
    def setUp(self):
        self.box = lab.Lab("chaos")
        self.addCleanup(self.box.__exit__)
        self.server = (oss_server.OssServer(OPTIONS.server) if OPTIONS.service == "oss"
                       else s3_server.S3Server(OPTIONS.server, check=True))
        self.addCleanup(self.server.close)
        self.proxy = chaos_proxy.ChaosProxy(self.server.endpoint.removeprefix("http://"))
        self.addCleanup(self.proxy.__exit__)
        self.url = f"{self.server.scheme}://{self.server.bucket}/app"
        self.writer = lab.Writer(self.box, OPTIONS.writer, self.box.path("app.db"),
                                 self.box.path("journal"))
        self.log = self.box.path("log")

    def run_tool(self, *words, direct=False):
        endpoint = None if direct else self.proxy.endpoint
        return self.box.run([OPTIONS.binary, *words], env=self.server.environment(endpoint))

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
        self.proxy.plan = lambda request: None
        self.assertEqual(lab.stop(process, 120), 0, self.log.read_text())
        return self.writer.journal_lines()[-1][0]

    def start(self, config):
        return self.box.start([OPTIONS.binary, "replicate", "-config", config], log=self.log,
                              env=self.server.environment(self.proxy.endpoint))

    def test_nothing_is_lost_and_nothing_is_wrong(self):
        last = self.replicate(14, chaos_proxy.every(3))
        happened = set(self.proxy.seen)
        self.assertEqual(self.restore("plain.db", direct=True), last)
        verified = self.run_tool("verify", self.url, direct=True)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        self.assertEqual(self.server.requests().get("REPLACED", 0), 0)
        self.assertNotIn(self.server.secret, self.log.read_text())
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    parser.add_argument("--server", required=True, type=pathlib.Path)
    parser.add_argument("--service", default="s3", choices=("s3", "oss"))
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
