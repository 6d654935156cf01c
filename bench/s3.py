#!/usr/bin/env python3
"""Measures replication to a bucket and restores from it, on the server that is built with the tests
(litestream-s3-server, in memory, on the loopback): a first sync, a live writer, lag, restores with
latency and with limited connections.

One run of each, no medians. On tmpfs an fsync costs nothing, and the server takes its part of the
cores: absolute times are the machine's. A commit counts as visible with the next level 0 object,
which for lone commits is exact; of many, one that falls between a capture and its upload counts as
seen too early.

Example:
  bench/s3.py --binary build/release/litestream --writer build/release/litestream-writer \\
      --server build/release/litestream-s3-server --gib 1
"""
import argparse
import pathlib
import shutil
import sqlite3
import sys
import time

import measure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import lab  # noqa: E402
import s3_server  # noqa: E402

MIB = 1 << 20
# What the reference was measured at, and the share of it aimed at.
RESTORE = {"no latency": (0, 0, 7.47, 0.35), "20 ms": (20, 0, 8.17, 0.35),
           "50 MB/s a connection": (0, 50_000_000, 14.6, 0.25)}
FIRST_WALL, FIRST_CPU, FIRST_REQUESTS = (4.94, 0.5), (4.62, 0.35), (126, 1.0)
# Commits a second -> CPU for 1,000 commits, for 1 GB of WAL: the reference's, and the share.
LIVE = {100: ((0.063, 0.4), (7.26, 0.4)), 1000: ((0.023, 0.4), (2.60, 0.5))}
SMALL = {"rows": 1, "updates": 0, "no_index": True}
BULK_BYTES = 50_000_000


class Bench:
    def __init__(self, options, report, box):
        self.options = options
        self.report = report
        self.box = box
        self.number = 0

    def start(self, server, database):
        return self.box.start([self.options.binary, "replicate", database, self.url(server)],
                              log=self.box.path("log"), env=server.environment())

    def url(self, server):
        return f"s3://{server.bucket}/app"

    def server(self, *arguments):
        return s3_server.S3Server(self.options.server, *arguments)

    def new_writer(self):
        self.number += 1
        return lab.Writer(self.box, self.options.writer, self.box.path(f"s3-{self.number}.db"),
                          self.box.path(f"s3-{self.number}.journal"))

    def changes(self, server, before):
        return {kind: count - before.get(kind, 0) for kind, count in server.requests().items()}

    def total(self, changes):
        return sum(count for kind, count in changes.items()
                   if kind not in ("LEASE", "PUT-BYTES", "REPLACED"))

    def restores(self):
        self.report.section(f"First sync and restores, {self.options.gib} GiB "
                            "(targets are for 1 GiB)")
        writer = self.new_writer()
        writer.run(count=int(self.options.gib * 1024 / 64), large_every=1, large_bytes=64 * MIB,
                   keep_bytes=1 << 50)
        connection = sqlite3.connect(writer.database)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with self.server() as server:
            self._first_sync(server, writer)
        for name, (latency, speed, reference, share) in RESTORE.items():
            with self.server(latency, speed) as server:
                self._fill(server, writer)
                before = server.requests()
                cost = self._restore(server)
                changes = self.changes(server, before)
                self.report.relative(f"restore, {name}, wall", cost.wall, "s", "reference",
                                     reference, share)
                self.report.plain(f"restore, {name}, CPU", cost.cpu, "s")
                self.report.absolute(f"restore, {name}, peak", cost.peak_bytes, "bytes", 128 * MIB)
                self.report.absolute(f"restore, {name}, LISTs", changes.get("LIST", 0), "", 12)
                self.report.plain(f"restore, {name}, GETs", changes.get("GET", 0), "")
                if speed:
                    for parallel in (1, 2, 4, 8, 16):
                        wall = self._restore(server, parallel).wall
                        self.report.plain(f"  -parallelism {parallel}", wall, "s")

    def _restore(self, server, parallel=None):
        output = self.box.path("restored.db")
        words = ["restore", "-o", output]
        if parallel:
            words += ["-parallelism", parallel]
        try:
            return measure.run([self.options.binary, *words, self.url(server)],
                               env=server.environment())
        finally:
            output.unlink(missing_ok=True)

    def _fill(self, server, writer):
        done = self.box.run([self.options.binary, "replicate", "-once", writer.database,
                             self.url(server)], timeout=600, env=server.environment())
        lab.require(done.returncode == 0, done.stderr + done.stdout)
        self._forget(writer)

    def _forget(self, writer):
        meta = writer.database.parent / f".{writer.database.name}-litestream"
        shutil.rmtree(meta)

    def _first_sync(self, server, writer):
        cost = measure.run([self.options.binary, "replicate", "-once", writer.database,
                            self.url(server)], env=server.environment())
        requests = server.requests()
        self.report.relative("first sync, wall", cost.wall, "s", "reference", *FIRST_WALL)
        self.report.relative("first sync, CPU", cost.cpu, "s", "reference", *FIRST_CPU)
        self.report.absolute("first sync, peak memory", cost.peak_bytes, "bytes", 64 * MIB)
        self.report.relative("first sync, requests", self.total(requests), "", "reference",
                             *FIRST_REQUESTS)
        self._forget(writer)

    def live(self):
        for rate, (thousand, gigabyte) in LIVE.items():
            self.report.section(f"{rate} commits a second, {self.options.seconds} s")
            figures = self._write_beside(rate=rate, seconds=self.options.seconds, **SMALL)
            commits, wal = figures["summary"]["commits"], figures["summary"]["wal_bytes"]
            self.report.relative("CPU for 1,000 commits", figures["cpu"] / commits * 1000, "s",
                                 "reference", *thousand)
            self.report.relative("CPU for 1 GB of WAL", figures["cpu"] / wal * 1e9, "s",
                                 "reference", *gigabyte)
            self.report.absolute("PUTs a minute", figures["puts"] / figures["passed"] * 60, "",
                                 64)
            self.report.absolute("requests for an uploaded file",
                                 figures["requests"] / max(1, figures["level0"]), "", 1.5)
            self.report.relative("uploaded L0 bytes", figures["level0_bytes"], "bytes", "WAL", wal,
                                 1.02)
            self.report.absolute("drain after the last commit", figures["drain"], "s", 1.0)
            self.report.absolute("peak memory", figures["peak"], "bytes", 20 * MIB)
        self.report.section("50 MB commits")
        figures = self._write_beside(count=4, large_every=1, large_bytes=BULK_BYTES,
                                     keep_bytes=1 << 50)
        self.report.relative("CPU for 1 GB of WAL",
                             figures["cpu"] / figures["summary"]["wal_bytes"] * 1e9, "s",
                             "reference", 11.0, 0.15)
        self.report.absolute("peak memory", figures["peak"], "bytes", 64 * MIB)

    def _write_beside(self, **options):
        writer = self.new_writer()
        writer.run(**{**options, "count": 10, "large_every": 0, "seconds": None, "rate": None})
        with self.server() as server:
            process = self.start(server, writer.database)
            lab.wait_for("the first file", server.newest)
            time.sleep(2)
            before, cpu = server.requests(), measure.process_cpu(process.pid)
            known = set(server.objects())
            began = time.monotonic()
            summary = writer.run(**options)
            ended = time.monotonic()
            figures = {"summary": summary, "passed": ended - began}
            # The file with the last commit is the last one for more than a sync interval.
            time.sleep(3)
            fresh = {key: value for key, value in server.objects().items()
                     if key not in known and "/0000/" in key}
            figures["drain"] = max(since for _, since in fresh.values()) - ended
            figures["cpu"] = measure.process_cpu(process.pid) - cpu
            changes = self.changes(server, before)
            figures.update(puts=changes.get("PUT", 0), requests=self.total(changes),
                           level0=len(fresh), level0_bytes=sum(size for size, _ in fresh.values()),
                           peak=measure.process_memory(process.pid)[1])
            lab.require(lab.stop(process) == 0, "replicate failed")
        return figures

    def lag(self):
        for quiet, count, limits in ((3, self.options.commits, (0.020, 0.050, 0.100)),
                                     (0.1, 300, (0.520, 0.960, 1.0))):
            lags, puts, passed = self._lags(quiet, count)
            self.report.section(f"Commit to object visible, {len(lags)} commits {quiet} s apart")
            for name, value, limit in zip(
                    ("p50", "p95", "p99"),
                    (measure.median(lags), measure.percentile(lags, 0.95),
                     measure.percentile(lags, 0.99)), limits):
                self.report.absolute(name, value, "s", limit)
            self.report.plain(f"PUTs in {passed:.0f} s", puts, "")

    def _lags(self, quiet, count):
        """How long each commit took until an object with it was there."""
        writer = self.new_writer()
        writer.run(count=10)
        with self.server() as server:
            process = self.start(server, writer.database)
            lab.wait_for("the first file", server.newest)
            time.sleep(3)
            first = server.newest()["app"]
            before = server.requests()
            database = sqlite3.connect(writer.database, isolation_level=None)
            database.execute("CREATE TABLE lone(x)")
            commits = []
            began = time.monotonic()
            for _ in range(count):
                time.sleep(quiet)
                database.execute("INSERT INTO lone VALUES(1)")
                commits.append(time.monotonic())
            time.sleep(2.5)
            passed = time.monotonic() - began
            puts = self.changes(server, before).get("PUT", 0)
            objects = server.objects()
            database.close()
            lab.require(lab.stop(process) == 0, "replicate failed")
        # See the top for what this takes for granted.
        seen = sorted(since for key, (_, since) in objects.items() if "/0000/" in key)
        lab.require(len(seen) > 0 and first > 0, "nothing was uploaded")
        return [next(since for since in seen if since > commit) - commit
                for commit in commits], puts, passed


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("binary", "writer", "server"):
        parser.add_argument(f"--{name}", required=True, type=pathlib.Path)
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    parser.add_argument("--gib", type=float, default=1, help="size of the database to restore")
    parser.add_argument("--seconds", type=float, default=30, help="of each live writer")
    parser.add_argument("--commits", type=int, default=20, help="lone ones, 3 s apart")
    parser.add_argument("--only", default="restores,live,lag")
    options = parser.parse_args()
    for name in ("binary", "writer", "server"):
        setattr(options, name, getattr(options, name).resolve())
    report = measure.Report()
    with lab.Lab("s3", parent=options.folder) as box:
        bench = Bench(options, report, box)
        for part in options.only.split(","):
            getattr(bench, part)()
    report.summary()
    return 0 if not report.failures else 1


if __name__ == "__main__":
    sys.exit(main())
