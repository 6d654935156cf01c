#!/usr/bin/env python3
"""Runs a command beside a server that speaks as Alibaba Cloud OSS does (memory_oss.h).

Usage: oss_server.py PROGRAM COMMAND...
The command finds it in LITESTREAM_TEST_OSS_ENDPOINT, _BUCKET, _VERSIONED_BUCKET, _ACCESS_KEY,
_SECRET_KEY, and for temporary keys _STS_KEY, _STS_SECRET, _STS_TOKEN.
"""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import s3_server  # noqa: E402

SETTINGS = {"BUCKET": "litestream", "VERSIONED_BUCKET": "versioned", "ACCESS_KEY": "LTAITEST",
            "SECRET_KEY": "SECRET/TEST+KEY", "STS_KEY": "STS.TEST", "STS_SECRET": "STS-SECRET",
            "STS_TOKEN": "TOKEN/TEST+=="}


class OssServer(s3_server.MemoryServer):
    bucket = SETTINGS["BUCKET"]
    scheme = "oss"
    secret = SETTINGS["SECRET_KEY"]

    def __init__(self, program):
        self.settings = dict(SETTINGS)
        super().__init__(program, *SETTINGS.values())

    def variables(self):
        """As the command of this script sees them."""
        names = dict(self.settings, ENDPOINT=self.endpoint)
        return {f"LITESTREAM_TEST_OSS_{name}": value for name, value in names.items()}

    def environment(self, endpoint=None):
        """For our program, perhaps through something at another endpoint; without what the
        caller's shell may hold."""
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith(("OSS_", "ALIBABA_CLOUD_"))}
        return dict(clean, OSS_ACCESS_KEY_ID=self.settings["ACCESS_KEY"],
                    OSS_ACCESS_KEY_SECRET=self.settings["SECRET_KEY"],
                    OSS_ENDPOINT=endpoint or self.endpoint,
                    ALIBABA_CLOUD_ECS_METADATA_DISABLED="true")


if __name__ == "__main__":
    with OssServer(sys.argv[1]) as server:
        done = subprocess.run(sys.argv[2:], env=dict(os.environ, **server.variables()))
    sys.exit(done.returncode)
