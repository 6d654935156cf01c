"""Buckets in memory for measurements: tests/support/memory_s3.h, started and asked."""
import os
import pathlib
import subprocess
import urllib.request

import lab

KEYS = {"AWS_ACCESS_KEY_ID": "fleet", "AWS_SECRET_ACCESS_KEY": "fleet-secret"}


class MemoryServer:
    """One server, and a bucket in it. It prints its URL, and ends with its caller or by close()."""

    bucket = None

    def __init__(self, program, *arguments):
        self._process = subprocess.Popen([str(program), *map(str, arguments)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = self._process.stdout.readline().strip()
        lab.require(self.endpoint.startswith("http://"), f"{program} did not start")
        self.pid = self._process.pid

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _ask(self, what):
        with urllib.request.urlopen(f"{self.endpoint}/?{what}", timeout=60) as answer:
            return [line.rsplit(" ", 2 if what == "objects" else 1)
                    for line in answer.read().decode().splitlines()]

    def requests(self):
        """What it was asked so far, by kind: see memory_s3.h."""
        return {kind: int(count) for kind, count in self._ask("requests")}

    def objects(self):
        """key, without the bucket -> (size, moment of time.monotonic() since when it is seen)."""
        return {key.removeprefix(self.bucket + "/"): (int(size), float(since))
                for key, size, since in self._ask("objects")}

    def newest(self):
        """path of a replica -> the newest TXID in its files."""
        newest = {}
        for key in self.objects():
            path = pathlib.PurePosixPath(key)
            match = lab.LTX_NAME.match(path.name)
            if match:
                replica = str(path.parent.parent)
                newest[replica] = max(newest.get(replica, 0), int(match[2], 16))
        return newest


class S3Server(MemoryServer):
    bucket = "bench"
    scheme = "s3"
    secret = KEYS["AWS_SECRET_ACCESS_KEY"]

    def __init__(self, program, latency_ms=0, bytes_per_second=0, check=False):
        super().__init__(program, latency_ms, bytes_per_second, *(["check"] if check else []))

    def environment(self, endpoint=None):
        """For programs that shall use it, perhaps through something at another endpoint; without
        what the caller's shell may hold."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return dict(clean, LITESTREAM_S3_ENDPOINT=endpoint or self.endpoint, **KEYS)
