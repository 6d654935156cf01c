#!/usr/bin/env python3
"""Upload and restore of one database per backend, beside rclone with the same objects: without and
with 20 ms of latency between the program and the server. Runs interleaved; medians.

Start it through the script that runs the server:
  tests/support/radosgw.py bench/backends.py s3 --binary build/release/litestream --mib 256
  tests/support/sftp_server.py bench/backends.py sftp --binary ...

(abs is not among them: rclone 1.60 finds no emulator at another port than 10000.)

The server takes its part of the cores, and the proxy that delays is a Python program: absolute
figures are the machine's, and those with latency are bounded by the proxy.
"""
import argparse
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import urllib.parse

import measure

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import lab  # noqa: E402
import tcp_proxy  # noqa: E402

MIB = 1 << 20
PATH = "bench-backends"
LATENCY = tcp_proxy.Trouble("latency", latency=0.010)  # Each way.


def obscured(password):
    """As rclone wants passwords in its configuration."""
    return subprocess.run(["rclone", "obscure", password], capture_output=True, text=True,
                          check=True).stdout.strip()


class S3:
    def __init__(self):
        self.endpoint = os.environ["LITESTREAM_TEST_S3_ENDPOINT"]
        self.bucket = os.environ["LITESTREAM_TEST_S3_BUCKET"]
        self.id = os.environ["LITESTREAM_TEST_S3_ACCESS_KEY"]
        self.secret = os.environ["LITESTREAM_TEST_S3_SECRET_KEY"]

    def upstream(self):
        url = urllib.parse.urlsplit(self.endpoint)
        return url.hostname, url.port

    def keys(self, port):
        return {"type": "s3", "bucket": self.bucket, "path": PATH, "region": "us-east-1",
                "endpoint": f"http://127.0.0.1:{port}", "access-key-id": self.id,
                "secret-access-key": self.secret}

    def rclone(self, port):
        return (f"{self.bucket}/{PATH}",
                {"type": "s3", "provider": "Ceph", "endpoint": f"http://127.0.0.1:{port}",
                 "access_key_id": self.id, "secret_access_key": self.secret})


class Sftp:
    def __init__(self):
        self.dir = pathlib.Path(os.environ["LITESTREAM_TEST_SFTP_DIR"])

    def setting(self, name):
        return (self.dir / name).read_text().strip()

    def upstream(self):
        return "127.0.0.1", int(self.setting("sshd.port"))

    def keys(self, port):
        return {"type": "sftp", "host": f"127.0.0.1:{port}", "user": self.setting("sshd.user"),
                "path": f"{self.setting('sshd.root')}/{PATH}", "key-path": str(self.dir / "key"),
                "host-key": self.setting("host_key.pub")}

    def rclone(self, port):
        return (f"{self.setting('sshd.root')}/{PATH}",
                {"type": "sftp", "host": "127.0.0.1", "port": str(port),
                 "user": self.setting("sshd.user"), "key_file": str(self.dir / "key")})


PLACES = {"s3": S3, "sftp": Sftp}


class Bench:
    def __init__(self, options, box):
        self.options = options
        self.box = box
        self.place = PLACES[options.backend]()
        self.database = box.path("app.db")
        self.meta = box.path(".app.db-litestream")
        connection = sqlite3.connect(self.database)
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("CREATE TABLE t(x)")
        for _ in range(options.mib):
            # Half of it random, as targets.md has it.
            with connection:
                connection.executemany("INSERT INTO t VALUES(randomblob(2000) || zeroblob(1800))",
                                       [()] * 256)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        self.bytes = self.database.stat().st_size

    def config(self, port):
        path = self.box.path("litestream.yml")
        keys = "".join(f"      {name}: {value}\n" for name, value in self.place.keys(port).items())
        path.write_text(f"dbs:\n  - path: {self.database}\n    replica:\n{keys}")
        return path

    def remote(self, port):
        path, settings = self.place.rclone(port)
        names = {f"RCLONE_CONFIG_PLACE_{name.upper()}": value for name, value in settings.items()}
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith(("AWS_", "RCLONE_"))}
        return f"place:{path}", {**clean, "RCLONE_CONFIG": "/dev/null", **names}

    def upload(self, port):
        shutil.rmtree(self.meta, ignore_errors=True)
        remote, environment = self.remote(port)
        subprocess.run(["rclone", "purge", remote], env=environment, capture_output=True,
                       check=False)
        return measure.run([self.options.binary, "replicate", "-once", "-config",
                            self.config(port)])

    def restore(self, port):
        output = self.box.path("restored.db")
        try:
            return measure.run([self.options.binary, "restore", "-config", self.config(port), "-o",
                                output, self.database])
        finally:
            output.unlink(missing_ok=True)

    def rclone_down(self, port):
        copy = self.box.path("copy")
        shutil.rmtree(copy, ignore_errors=True)
        remote, environment = self.remote(port)
        return measure.run(["rclone", "copy", remote, copy], env=environment)

    def rclone_up(self, port):
        remote, environment = self.remote(port)
        return measure.run(["rclone", "copy", self.box.path("copy"), remote + "-again"],
                           env=environment)

    def forget_copy(self, port):
        remote, environment = self.remote(port)
        subprocess.run(["rclone", "purge", remote + "-again"], env=environment,
                       capture_output=True, check=False)

    def run(self):
        print(f"{self.options.backend}: a database of {self.bytes / MIB:.0f} MiB, medians of "
              f"{self.options.runs} runs")
        for name, plan in (("no latency", lambda number: None), ("20 ms", lambda number: LATENCY)):
            with tcp_proxy.TcpProxy(self.place.upstream(), plan) as proxy:
                self.upload(proxy.port)
                self.rclone_down(proxy.port)
                costs = measure.interleaved(self.options.runs, {
                    "upload": lambda: self.upload(proxy.port),
                    "rclone up": lambda: (self.forget_copy(proxy.port),
                                          self.rclone_up(proxy.port))[1],
                    "restore": lambda: self.restore(proxy.port),
                    "rclone down": lambda: self.rclone_down(proxy.port)})
                objects = sum(file.stat().st_size for file in self.box.path("copy").rglob("*")
                              if file.is_file())
                self.forget_copy(proxy.port)
            print(f"  {name}, {objects / MIB:.0f} MiB of objects")
            for ours, theirs in (("upload", "rclone up"), ("restore", "rclone down")):
                wall = {key: measure.median(costs[key], lambda cost: cost.wall)
                        for key in (ours, theirs)}
                peak = max(cost.peak_bytes for cost in costs[ours])
                print(f"    {ours:8} {wall[ours]:6.2f} s   {theirs:12} {wall[theirs]:6.2f} s   "
                      f"ratio {wall[ours] / wall[theirs]:5.2f}   "
                      f"{objects / MIB / wall[ours]:6.0f} MiB/s of objects   "
                      f"peak {peak / MIB:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", choices=PLACES)
    parser.add_argument("--binary", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with lab.Lab("backends") as box:
        Bench(options, box).run()


if __name__ == "__main__":
    main()
