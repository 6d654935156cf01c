"""A live database: CPU of capture, what the writer feels, lag, start and stop."""
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time

import measure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import lab  # noqa: E402

MIB = 1 << 20
# Small transactions of about two pages, as the reference was measured with.
SMALL = {"rows": 1, "updates": 0, "no_index": True}
# rate -> (CPU for 1,000 commits, for 1 GB of WAL) of the reference; target of the ratio.
REFERENCE = {100: (0.063, 7.26, 0.4), 1000: (0.023, 2.60, 0.4)}
REFERENCE_BULK_CPU = 11.0
BULK_BYTES = 50_000_000


class Live:
    def __init__(self, options, report, box):
        self.options = options
        self.report = report
        self.box = box
        self.tool = lab.Litestream(box, options.binary)
        self.number = 0

    def _new_writer(self):
        self.number += 1
        return lab.Writer(self.box, self.options.writer, self.box.path(f"live{self.number}.db"),
                          self.box.path(f"live{self.number}.journal"))

    def _replica(self):
        return self.box.path(f"live{self.number}.replica")

    def _write_beside(self, replicate, settle=0.5, **options):
        """One run of a writer, with or without the replicator. Returns (summary, figures)."""
        writer = self._new_writer()
        writer.run(**{**options, "count": 10, "large_every": 0, "seconds": None, "rate": None})
        figures = {}
        process = None
        if replicate:
            process = self.tool.replicate(writer.database, self._replica(), self.box.path("log"))
            lab.wait_for("the first file", lambda: lab.replica_files(self._replica()))
            time.sleep(settle)
            before = measure.process_cpu(process.pid)
        summary = writer.run(**options)
        if process:
            ended = time.time()
            lab.wait_for("the last commit", lambda: self._level_with(ended), 60)
            figures["drain"] = time.time() - ended
            figures["cpu"] = measure.process_cpu(process.pid) - before
            figures["peak"] = measure.process_memory(process.pid)[1]
            files = [file for file in lab.replica_files(self._replica()) if file.level == 0]
            figures["uploaded"] = sum(file.size for file in files if file.min_txid > 1)
            lab.require(lab.stop(process) == 0, "replicate failed")
            shutil.rmtree(self._replica())
        writer.database.unlink()
        return summary, figures

    def _level_with(self, moment):
        """A file captured after `moment`, or none for longer than a sync interval."""
        newest = max((file.time for file in lab.replica_files(self._replica())), default=0)
        return newest >= moment or time.time() - moment > 2.5

    def capture(self):
        self.report.section("Capture: CPU of the replicator")
        for rate, (per_thousand, per_gb, target) in REFERENCE.items():
            summary, figures = self._write_beside(True, rate=rate, seconds=self.options.seconds,
                                                  **SMALL)
            thousand = figures["cpu"] / summary["commits"] * 1000
            gigabyte = figures["cpu"] / summary["wal_bytes"] * 1e9
            self.report.relative(f"{rate}/s: for 1,000 commits", thousand, "s", "reference",
                                 per_thousand, target)
            self.report.relative(f"{rate}/s: for 1 GB of WAL", gigabyte, "s", "reference", per_gb,
                                 0.5 if rate == 1000 else target)
            self.report.relative(f"{rate}/s: uploaded L0 bytes", figures["uploaded"], "bytes",
                                 "WAL", summary["wal_bytes"], 1.0)
            self.report.absolute(f"{rate}/s: peak memory", figures["peak"], "bytes", 20 * MIB)
        summary, figures = self._write_beside(
            True, count=4, large_every=1, large_bytes=BULK_BYTES, keep_bytes=1 << 50)
        self.report.relative("50 MB commits: for 1 GB of WAL",
                             figures["cpu"] / summary["wal_bytes"] * 1e9, "s", "reference",
                             REFERENCE_BULK_CPU, 0.15)
        self.report.absolute("50 MB commits: peak memory", figures["peak"], "bytes", 64 * MIB)

    def latency(self):
        for synchronous in ("normal", "full"):
            for rate in (100, 1000):
                options = {"rate": rate, "seconds": self.options.seconds,
                           "synchronous": synchronous, **SMALL}
                runs = measure.interleaved(self.options.runs, {
                    "alone": lambda o=options: self._write_beside(False, **o)[0],
                    "with": lambda o=options: self._write_beside(True, **o)[0]})
                self.report.section(f"Commit latency at {rate}/s, synchronous={synchronous}")
                for name, target in (("p50", 1.2), ("p99", 1.2), ("max", 1.5)):
                    alone, ours = (measure.median(runs[who], lambda s, n=name: s["commit_us"][n])
                                   for who in ("alone", "with"))
                    self.report.relative(name, ours, "us", "alone", alone, target)

    def lag(self):
        """From the return of a lone commit to its file in the replica directory."""
        writer = self._new_writer()
        writer.run(count=10)
        process = self.tool.replicate(writer.database, self._replica(), self.box.path("log"))
        lab.wait_for("the first file", lambda: lab.replica_files(self._replica()))
        lags = []
        database = sqlite3.connect(writer.database, isolation_level=None)
        database.execute("CREATE TABLE lone(x)")
        time.sleep(1.5)  # That one, too, has to be long gone.
        for _ in range(self.options.commits):
            time.sleep(self.options.quiet)
            had = lab.newest_txid(lab.replica_files(self._replica()))
            wanted = self._replica() / f"ltx/0/{had + 1:016x}-{had + 1:016x}.ltx"
            database.execute("INSERT INTO lone VALUES(1)")
            began = time.monotonic()
            while not wanted.exists():
                lab.require(time.monotonic() - began < 30, "a commit did not arrive")
                time.sleep(0.0002)
            lags.append(time.monotonic() - began)
        database.close()
        lab.require(lab.stop(process) == 0, "replicate failed")
        self.report.section(f"Lag of a lone commit ({len(lags)}, {self.options.quiet} s apart)")
        print("  in order:", " ".join(measure.show(lag, "s") for lag in lags))
        self.report.absolute("p50", measure.median(lags), "s", 0.020)
        self.report.absolute("p95", measure.percentile(lags, 0.95), "s", 0.050)
        self.report.absolute("p99", measure.percentile(lags, 0.99), "s", 0.100)

    def start(self):
        self.report.section("Start, stop, size")
        runs = measure.interleaved(30, {
            "version": lambda: measure.run([self.tool.binary, "version"]),
            "true": lambda: measure.run(["/bin/true"])})
        self.report.absolute("version, wall", measure.median(runs["version"], lambda c: c.wall),
                             "s", 0.0058)
        self.report.relative("version, wall", measure.median(runs["version"], lambda c: c.wall),
                             "s", "/bin/true", measure.median(runs["true"], lambda c: c.wall), 2.0)
        self.report.absolute("version, CPU", measure.median(runs["version"], lambda c: c.cpu),
                             "s", 0.0048)
        first, stops, resident = [], [], []
        for _ in range(self.options.runs):
            writer = self._new_writer()
            writer.run(count=10)
            began = time.monotonic()
            process = self.tool.replicate(writer.database, self._replica(), self.box.path("log"))
            lab.wait_for("the first file", lambda: lab.replica_files(self._replica()), step=0.0005)
            first.append(time.monotonic() - began)
            time.sleep(2.5)
            resident.append(measure.process_memory(process.pid)[0])
            began = time.monotonic()
            lab.require(lab.stop(process) == 0, "replicate failed")
            stops.append(time.monotonic() - began)
        self.report.absolute("to the first file on the replica", measure.median(first), "s", 0.050)
        self.report.absolute("memory, 1 database", measure.median(resident), "bytes", 12 * MIB)
        self.report.absolute("stop, nothing to do", measure.median(stops), "s", 0.005)
        stripped = self.box.path("stripped")
        subprocess.run(["strip", "-o", stripped, self.tool.binary], check=True)
        self.report.absolute("binary, stripped", os.path.getsize(stripped), "bytes", 10e6)
        stripped.unlink()

    def idle(self):
        """CPU of a replicator whose database nobody touches."""
        writer = self._new_writer()
        writer.run(count=10)
        process = self.tool.replicate(writer.database, self._replica(), self.box.path("log"))
        lab.wait_for("the first file", lambda: lab.replica_files(self._replica()))
        time.sleep(2)
        before, began = measure.process_cpu(process.pid), time.monotonic()
        switches = measure.context_switches(process.pid)
        time.sleep(self.options.seconds)
        passed = time.monotonic() - began
        self.report.section(f"Idle for {passed:.0f} s")
        self.report.absolute("CPU a minute",
                             (measure.process_cpu(process.pid) - before) / passed * 60, "s", 0.001)
        self.report.absolute("context switches",
                             (measure.context_switches(process.pid) - switches) / passed, "/s", 1.0)
        lab.require(lab.stop(process) == 0, "replicate failed")
