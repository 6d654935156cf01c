#!/usr/bin/env python3
"""A bucket of Google Cloud Storage in memory (tests/support/fake_gcs.h), started and asked; or runs
a command beside it.

Usage: gcs_server.py --server PROGRAM COMMAND...
The command finds it in LITESTREAM_TEST_GCS_ENDPOINT and _BUCKET, and the key of an account that may
use it in GOOGLE_APPLICATION_CREDENTIALS.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request


class GcsServer:
    """One server, and a bucket in it. Ends with its caller, or by close()."""

    bucket = "litestream"

    def __init__(self, program):
        self._directory = tempfile.TemporaryDirectory(prefix="litestream-gcs-")
        self._process = subprocess.Popen([str(program), self._directory.name],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = self._process.stdout.readline().strip()
        if not self.endpoint.startswith("http://"):
            raise RuntimeError(f"{program} did not start")
        self.account = pathlib.Path(self._directory.name) / "service_account.json"
        self.user = pathlib.Path(self._directory.name) / "user.json"
        self.pid = self._process.pid

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._directory.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def environment(self, endpoint=None, credentials=None):
        """For programs that shall use it, perhaps through something at another endpoint; without
        what the caller's shell may hold."""
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith(("GOOGLE_", "GCE_", "CLOUDSDK_", "STORAGE_EMULATOR"))}
        return dict(clean, GOOGLE_APPLICATION_CREDENTIALS=str(credentials or self.account),
                    CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE=endpoint or self.endpoint)

    def secrets(self):
        """What may be shown nowhere. (Tokens and URLs of uploads end in "-secret".)"""
        account = json.loads(self.account.read_text())
        user = json.loads(self.user.read_text())
        lines = account["private_key"].splitlines()[1:-1]
        return [*lines, user["client_secret"], user["refresh_token"], "-secret"]

    def _ask(self, what):
        with urllib.request.urlopen(f"{self.endpoint}/?{what}", timeout=60) as answer:
            return answer.read().decode().splitlines()

    def requests(self):
        """What it was asked so far, by kind: see fake_gcs.h."""
        return {kind: int(count) for kind, count in (line.split() for line in
                                                     self._ask("requests"))}

    def objects(self):
        """key -> size."""
        found = (line.rsplit(" ", 2) for line in self._ask("objects"))
        return {key.removeprefix(self.bucket + "/"): int(size) for key, size, _ in found}

    def open_uploads(self):
        return int(self._ask("uploads")[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True, help="litestream-gcs-server")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with GcsServer(options.server) as server:
        environment = dict(server.environment(), LITESTREAM_TEST_GCS_ENDPOINT=server.endpoint,
                           LITESTREAM_TEST_GCS_BUCKET=server.bucket)
        return subprocess.run(options.command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
