#!/usr/bin/env python3
"""Replicates to a bucket in memory and restores from it through a network that does what networks
do: tests/support/chaos_case.py."""
import argparse
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import chaos_case  # noqa: E402
import oss_server  # noqa: E402
import s3_server  # noqa: E402


class ChaosTest(chaos_case.ChaosCase):
    def setUp(self):
        self.server = (oss_server.OssServer(self.options.server) if self.options.service == "oss"
                       else s3_server.S3Server(self.options.server, check=True))
        self.addCleanup(self.server.close)
        if self.options.service == "oss":
            # Without a lease there are fewer requests for everything to happen to.
            self.seconds, self.number = 30, 2
        super().setUp()
        self.secret = self.server.secret
        self.url = f"{self.server.scheme}://{self.server.bucket}/app"

    def upstream(self):
        return self.server.endpoint.removeprefix("http://")

    def environment(self, direct):
        return self.server.environment(None if direct else self.proxy.endpoint)

    def look_at_server(self):
        self.assertEqual(self.server.requests().get("REPLACED", 0), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    parser.add_argument("--server", required=True, type=pathlib.Path)
    parser.add_argument("--service", default="s3", choices=("s3", "oss"))
    ChaosTest.options, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
