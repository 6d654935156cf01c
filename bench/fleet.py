#!/usr/bin/env python3
"""Measures one process with many databases: a directory of N, 3 pages each, and file replicas, or
with --s3 replicas in a bucket of the server that is built with the tests (litestream-s3-server).

All are replicated from nothing, left alone, written to (1 % of them, each once a second), stopped,
and started again with nothing changed. --binary may be any program with the same command line.
Targets without a unit are shares of what the Go implementation of Litestream v0.5.16 was measured
at on 2 cores of an AMD EPYC.

Examples:
  bench/fleet.py --binary build/release/litestream
  bench/fleet.py --binary build/release/litestream --databases 10000 --descriptors 1124 --json x
"""
import argparse
import json
import os
import pathlib
import random
import resource
import select
import shutil
import signal
import sqlite3
import sys
import time

import measure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import lab  # noqa: E402
import s3_server  # noqa: E402

MB = 1_000_000
# databases -> {figure: (of the reference, share of it aimed at) or (absolute target,)}.
TARGETS = {
    100: {"replicated": (0.3,), "cpu": (0.506, 0.3), "idle": (0.05,), "memory": (20 * MB,),
          "descriptors": (300,), "active": (2.49, 0.3), "stop": (0.051, 1.0)},
    1000: {"replicated": (1.5,), "cpu": (2.95, 0.3), "idle": (0.1,), "memory": (35 * MB,),
           "descriptors": (1100,), "active": (21.3, 0.15), "stop": (0.579, 1.0)},
    2500: {"replicated": (3.0,), "cpu": (9.84, 0.3), "idle": (0.25,), "memory": (65 * MB,),
           "descriptors": (1100,), "active": (46.2, 0.1), "stop": (1.25, 1.0)},
    10000: {"replicated": (10.0,), "idle": (1.0,), "memory": (200 * MB,),
            "descriptors": (1100,), "in sync again": (10.0,)},
}
# Holds for any number of databases.
TARGETS_OF_ALL = {"switches": (1.0,), "touched": (0,), "requests": (0,)}
# Of a core: less than this for QUIET_SECONDS is "nothing left to do".
QUIET_SHARE = 0.02
QUIET_SECONDS = 0.5
PROBES = 5  # Databases written to right after the second start.


def add_arguments(parser, databases):
    parser.add_argument("--databases", default=databases, help="how many, comma-separated")
    parser.add_argument("--settle", type=float, default=35,
                        help="seconds from all replicated to the idle window")
    parser.add_argument("--idle", type=float, default=30, help="seconds of the idle window")
    parser.add_argument("--active", type=float, default=20,
                        help="seconds of writing to 1 %% of the databases")
    parser.add_argument("--patience", type=float, default=180,
                        help="seconds until all have to be replicated")
    parser.add_argument("--descriptors", type=int,
                        help="limit of open files for the program (default: the hard limit)")
    parser.add_argument("--s3", metavar="SERVER", type=pathlib.Path,
                        help="replicas in a bucket of this program (litestream-s3-server)")


class Folders:
    """Replicas in a folder."""

    def __init__(self, root):
        self.root = root
        self.config = f"path: {root}"
        self.environment = None

    def _level(self, name, level):
        try:
            return os.listdir(f"{self.root}/{name}/ltx/{level}")
        except FileNotFoundError:
            return []

    def newest(self, name):
        """The newest TXID in the replica; 0: none."""
        matches = (lab.LTX_NAME.match(file) for level in (0, 1, 9)
                   for file in self._level(name, level))
        return max((int(match[2], 16) for match in matches if match), default=0)

    def requests(self):
        return None

    def close(self):
        pass


class Bucket:
    """Replicas in a bucket."""

    LOOK_SECONDS = 0.1  # A look at the server lists all.

    def __init__(self, program):
        self.server = s3_server.S3Server(program)
        self.config = f"url: s3://{self.server.bucket}/fleet"
        self.environment = self.server.environment()
        self._known, self._looked = {}, 0.0

    def newest(self, name):
        if time.monotonic() > self._looked + self.LOOK_SECONDS:
            self._known, self._looked = self.server.newest(), time.monotonic()
        return self._known.get(f"fleet/{name}", 0)

    def requests(self):
        return self.server.requests()

    def close(self):
        self.server.close()


class Directory:
    """`count` databases in one directory, their replicas, and the configuration."""

    def __init__(self, box, count, program):
        self.root = box.path(f"fleet{count}")
        self.names = [f"{index:05d}.db" for index in range(count)]
        self.databases = self.root / "databases"
        self.replicas = Bucket(program) if program else Folders(self.root / "replicas")
        self.config = self.root / "litestream.yml"
        self.databases.mkdir(parents=True)
        self.config.write_text(f"dbs:\n  - dir: {self.databases}\n    pattern: '*.db'\n"
                               f"    replica:\n      {self.replicas.config}\n")
        template = self.root / "template"
        connection = sqlite3.connect(template, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE written(x)")
        connection.execute("CREATE TABLE filler(x)")
        connection.close()
        lab.require(template.stat().st_size == 3 * 4096, "the template is not 3 pages")
        for name in self.names:
            shutil.copyfile(template, self.databases / name)
        os.sync()

    def connect(self, name):
        return sqlite3.connect(self.databases / name, isolation_level=None, timeout=10)

    def newest(self, name):
        return self.replicas.newest(name)

    def wait_replicated(self, patience):
        """Until every replica has a file; each is looked at until it has, in order."""
        deadline = time.monotonic() + patience
        for index, name in enumerate(self.names):
            while not self.newest(name):
                lab.require(time.monotonic() < deadline, f"{index} of {len(self.names)} in order "
                            f"replicated after {patience:.0f} s")
                time.sleep(0.002)

    def state_times(self):
        """database -> newest change (ns) of anything in its state directory."""
        return {name: max((os.stat(os.path.join(folder, file)).st_mtime_ns
                           for folder, _, files in
                           os.walk(self.databases / f".{name}-litestream")
                           for file in [*files, "."]), default=0)
                for name in self.names}


class Fleet:
    """Measures for each number of databases in `options.databases` (a list)."""

    def __init__(self, options, report, box):
        self.options = options
        self.report = report
        self.box = box
        self.tool = lab.Litestream(box, options.binary)
        self.random = random.Random(1)
        self.count = 0
        self.began = 0.0
        self.rows = []  # For JSON.

    def measure(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = self.options.descriptors or hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            for count in self.options.databases:
                self.count = count
                self.report.section(f"{count} databases of 3 pages; "
                                    f"{limit} descriptors allowed")
                fleet = Directory(self.box, count, self.options.s3)
                try:
                    self._measure_one(fleet)
                except (lab.LabError, RuntimeError) as error:
                    self.report.failed(f"{count} databases", str(error))
                    self.rows.append({"databases": count, "failed": str(error)})
                    for process in self.box.running():
                        lab.kill(process)
                fleet.replicas.close()
                shutil.rmtree(fleet.root)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def _measure_one(self, fleet):
        process = self._first_start(fleet)
        self._idle(fleet, process.pid)
        self._active(fleet, process.pid)
        self._row("memory", "memory, peak", measure.process_memory(process.pid)[1], "bytes",
                  judge=False)
        self._stop(process, "stop")
        self._second_start(fleet)
        self._write_after_start(fleet)

    def _row(self, target, figure, value, unit, judge=True):
        """One figure, with what TARGETS says about `target`."""
        wanted = {**TARGETS_OF_ALL, **TARGETS.get(self.count, {})}.get(target) if judge else None
        row = {"databases": self.count, "figure": figure, "value": value, "unit": unit}
        name = f"{self.count}: {figure}"
        if not wanted:
            self.report.plain(name, value, unit)
        elif len(wanted) == 1:
            self.report.absolute(name, value, unit, wanted[0])
            row["target"] = wanted[0]
        else:
            self.report.relative(name, value, unit, "reference", *wanted)
            row["target"] = wanted[0] * wanted[1]
        self.rows.append(row)

    def _start(self, fleet):
        return self.tool.replicate_config(fleet.config, fleet.root / "log",
                                          env=fleet.replicas.environment)

    def _requests(self, fleet, target, figure, before, share=1):
        """Of the server, since `before`; nothing for replicas in a folder."""
        if before is None:
            return
        after = fleet.replicas.requests()
        changes = {kind: count - before.get(kind, 0) for kind, count in after.items()}
        total = sum(count for kind, count in changes.items() if kind not in ("LEASE", "PUT-BYTES"))
        self._row(target, figure, total / share, "")
        print("   ", ", ".join(f"{kind} {count}" for kind, count in changes.items() if count))

    def _first_start(self, fleet):
        requests = fleet.replicas.requests()
        began = time.monotonic()
        process = self._start(fleet)
        fleet.wait_replicated(self.options.patience)
        self._row("replicated", "all replicated from nothing", time.monotonic() - began, "s")
        self._row("cpu", "CPU to get there", measure.process_cpu(process.pid), "s")
        self._requests(fleet, "", "requests to get there", requests)
        return process

    def _idle(self, fleet, pid):
        time.sleep(self.options.settle)
        requests = fleet.replicas.requests()
        cpu, switches = measure.process_cpu(pid), measure.context_switches(pid)
        began = time.monotonic()
        time.sleep(self.options.idle)
        passed = time.monotonic() - began
        self._row("idle", f"idle CPU of a core, {passed:.0f} s",
                  (measure.process_cpu(pid) - cpu) / passed * 100, "%")
        self._requests(fleet, "requests", "idle requests", requests)
        self._row("switches", "idle context switches",
                  (measure.context_switches(pid) - switches) / passed, "/s")
        self._row("memory", "memory", measure.process_memory(pid)[0], "bytes")
        self._row("descriptors", "descriptors", len(os.listdir(f"/proc/{pid}/fd")), "")
        self._row("threads", "threads", len(os.listdir(f"/proc/{pid}/task")), "")

    def _active(self, fleet, pid):
        """1 % of the databases, each written to once a second, evenly over the second."""
        names = self.random.sample(fleet.names, max(1, self.count // 100))
        before = fleet.state_times()
        newest = {name: fleet.newest(name) for name in names}
        applications = [fleet.connect(name) for name in names]
        requests = fleet.replicas.requests()
        cpu, began = measure.process_cpu(pid), time.monotonic()
        commits = int(self.options.active * len(names))
        for number in range(commits):
            applications[number % len(names)].execute("INSERT INTO written VALUES(1)")
            time.sleep(max(0, began + (number + 1) / len(names) - time.monotonic()))
        passed = time.monotonic() - began
        cpu = measure.process_cpu(pid) - cpu
        self._row("active", f"CPU with {len(names)} written once a second", cpu / passed * 100, "%")
        self._requests(fleet, "", "requests for a commit", requests, commits)
        for name in names:
            lab.wait_for(f"{name}'s commits", lambda n=name: fleet.newest(n) > newest[n])
        after = fleet.state_times()
        touched = sum(after[name] != before[name] for name in set(fleet.names) - set(names))
        self._row("touched", "touched without a write", touched, "")
        for application in applications:
            application.close()
        time.sleep(2)  # Beyond the sync interval: the stop has nothing to upload.

    def _stop(self, process, figure):
        watch = os.pidfd_open(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        ended = select.select([watch], [], [], 120)[0]
        passed = time.monotonic() - began
        os.close(watch)
        lab.require(ended, "no end within 120 s of SIGTERM")
        lab.require(process.wait() == 0, f"exit code {process.returncode}")
        self._row("stop", figure, passed, "s", judge=figure == "stop")

    def _second_start(self, fleet):
        """Nothing has changed: until nothing is left to do."""
        requests = fleet.replicas.requests()
        self.began = time.monotonic()
        process = self._start(fleet)
        settled, cpu = self._wait_quiet(process.pid)
        self._row("in sync again", "second start, until it rests", settled - self.began, "s")
        self._row("", "CPU of it", cpu, "s")
        self._requests(fleet, "", "requests of it", requests)
        self._row("", "descriptors after it", len(os.listdir(f"/proc/{process.pid}/fd")), "")
        self._row("", "memory after it", measure.process_memory(process.pid)[0], "bytes")
        self._stop(process, "stop after it")

    def _wait_quiet(self, pid):
        """(when the work ended, CPU until then): what follows uses hardly any for a while."""
        samples = [(time.monotonic(), measure.process_cpu(pid))]
        while True:
            time.sleep(0.02)
            now = time.monotonic(), measure.process_cpu(pid)
            samples.append(now)
            while len(samples) > 1 and samples[1][0] <= now[0] - QUIET_SECONDS:
                samples.pop(0)
            passed, cpu = now[0] - samples[0][0], now[1] - samples[0][1]
            if passed >= QUIET_SECONDS and cpu < QUIET_SHARE * passed and now[1] > 0.001:
                return samples[0]
            lab.require(now[0] - self.began < self.options.patience, "it never rests")

    def _write_after_start(self, fleet):
        """A start, and at once a commit in each of some databases: until the replica has them."""
        names = self.random.sample(fleet.names, min(PROBES, self.count))
        newest = {name: fleet.newest(name) for name in names}
        began = time.monotonic()
        process = self._start(fleet)
        for name in names:
            connection = fleet.connect(name)
            connection.execute("INSERT INTO written VALUES(2)")
            connection.close()
        for name in names:
            lab.wait_for(f"{name}'s commit", lambda n=name: fleet.newest(n) > newest[n],
                         self.options.patience, 0.002)
        self._row("in sync again", f"start, {len(names)} commits: replicated",
                  time.monotonic() - began, "s")
        self._stop(process, "stop after them")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    parser.add_argument("--json", help="a file to write the figures to")
    add_arguments(parser, "100,1000,2500,10000")
    options = parser.parse_args()
    options.databases = [int(count) for count in options.databases.split(",")]
    report = measure.Report()
    with lab.Lab("fleet", parent=options.folder) as box:
        fleet = Fleet(options, report, box)
        fleet.measure()
    report.summary()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(fleet.rows, indent=2) + "\n")
    return 0 if not report.failures else 1


if __name__ == "__main__":
    sys.exit(main())
