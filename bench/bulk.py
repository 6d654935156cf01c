"""Large databases: first sync and restore, beside copying and beside lz4."""
import os
import pathlib
import shutil
import sys

import measure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import lab  # noqa: E402

MIB = 1 << 20
INCREMENTS = 200
# What the reference took for 1 GiB (docs/testing.md), seconds of CPU.
REFERENCE_RESTORE_CPU = 8.38
REFERENCE_SYNC_CPU = 4.62


def synced(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def shell(command):
    return measure.run(["sh", "-c", command])


class Bulk:
    def __init__(self, options, report, box):
        self.options = options
        self.report = report
        self.box = box
        self.tool = lab.Litestream(box, options.binary)

    def restore(self):
        for size in self.options.mib:
            self._restore_size(size)

    def _database(self, size):
        writer = lab.Writer(self.box, self.options.writer, self.box.path(f"db{size}"),
                            self.box.path(f"journal{size}"))
        writer.journal.unlink(missing_ok=True)
        # Index, overhead and partly filled pages make the file some 20 % larger than the rows.
        writer.run(fill_bytes=size * MIB * 85 // 100, count=1, keep_bytes=1 << 50,
                   synchronous="off")
        return writer

    def _restore_size(self, size):
        writer = self._database(size)
        replica = self.box.path(f"replica{size}")
        self.box.must([self.tool.binary, "replicate", "-once", writer.database, lab.url(replica)],
                      timeout=1800)
        gib = writer.database.stat().st_size / (1 << 30)
        self._compare(f"{gib:.2f} GiB, one snapshot", writer.database, replica, gib)
        self._add_increments(writer, replica)
        files = len(lab.replica_files(replica))
        gib = writer.database.stat().st_size / (1 << 30)
        self._compare(f"{gib:.2f} GiB, {files} files", writer.database, replica, gib)
        shutil.rmtree(replica)
        writer.database.unlink()

    def _add_increments(self, writer, replica):
        config = self.box.path("increments.yml")
        config.write_text(
            f"dbs: [{{path: {writer.database}, monitor-interval: 10ms, replica: "
            f"{{path: {replica}, sync-interval: 10ms}}}}]\n")
        replicator = self.tool.replicate_config(config, self.box.path("log"))
        had = len(lab.replica_files(replica))
        writing = writer.start(rate=100, rows=50, keep_bytes=1 << 50)
        lab.wait_for("increments", lambda: len(lab.replica_files(replica)) > had + INCREMENTS, 120)
        lab.require(lab.stop(writing) == 0, "the writer failed")
        lab.require(lab.stop(replicator) == 0, "replicate failed")

    def _compare(self, title, database, replica, gib):
        out, packed = self.box.path("out"), self.box.path("packed.lz4")
        self.box.must(["lz4", "-1", "-f", "-q", database, packed], timeout=600)
        synced(packed)

        def fresh(action):
            def run():
                for suffix in ("", "-wal", "-shm"):
                    pathlib.Path(str(out) + suffix).unlink(missing_ok=True)
                os.sync()
                return action()
            return run

        costs = measure.interleaved(self.options.runs, {
            "ours": fresh(lambda: measure.run(
                [self.tool.binary, "restore", "-o", out, lab.url(replica)])),
            "cp": fresh(lambda: shell(f"cp '{database}' '{out}' && sync '{out}'")),
            "lz4": fresh(lambda: shell(f"lz4 -d -f -q '{packed}' '{out}' && sync '{out}'"))})
        out.unlink()
        packed.unlink()
        wall = {name: measure.median(runs, lambda c: c.wall) for name, runs in costs.items()}
        cpu = measure.median(costs["ours"], lambda c: c.cpu)
        self.report.section(f"Restore, {title}")
        self.report.relative("wall", wall["ours"], "s", "cp + fsync", wall["cp"], 1.3)
        self.report.relative("wall", wall["ours"], "s", "lz4 -d + fsync", wall["lz4"], 1.0)
        self.report.absolute("CPU for 1 GiB", cpu / gib, "s", 1.7)
        self.report.relative("CPU for 1 GiB", cpu / gib, "s", "reference", REFERENCE_RESTORE_CPU,
                             0.2)
        self.report.absolute("peak memory", max(c.peak_bytes for c in costs["ours"]), "bytes",
                             64 * MIB)

    def first_sync(self):
        size = self.options.mib[0]
        writer = self._database(size)
        gib = writer.database.stat().st_size / (1 << 30)
        meta = pathlib.Path(f"{writer.database.parent}/.{writer.database.name}-litestream")
        replica, packed = self.box.path("first-replica"), self.box.path("packed.lz4")

        def ours():
            shutil.rmtree(replica, ignore_errors=True)
            shutil.rmtree(meta, ignore_errors=True)
            os.sync()
            return measure.run([self.tool.binary, "replicate", "-once", writer.database,
                                lab.url(replica)])

        def lz4():
            packed.unlink(missing_ok=True)
            os.sync()
            return shell(f"lz4 -1 -f -q '{writer.database}' '{packed}' && sync '{packed}'")

        costs = measure.interleaved(self.options.runs, {"ours": ours, "lz4": lz4})
        local = sum(p.stat().st_size for p in meta.rglob("*") if p.is_file())
        wall = {name: measure.median(runs, lambda c: c.wall) for name, runs in costs.items()}
        cpu = {name: measure.median(runs, lambda c: c.cpu) for name, runs in costs.items()}
        self.report.section(f"First sync, {gib:.2f} GiB to a directory")
        self.report.relative("wall", wall["ours"], "s", "lz4 -1 + fsync", wall["lz4"], 1.3)
        self.report.relative("CPU", cpu["ours"], "s", "lz4 -1", cpu["lz4"], 1.5)
        self.report.relative("CPU for 1 GiB", cpu["ours"] / gib, "s", "reference",
                             REFERENCE_SYNC_CPU, 0.35)
        self.report.absolute("peak memory", max(c.peak_bytes for c in costs["ours"]), "bytes",
                             64 * MIB)
        self.report.relative("local disk afterwards", local, "bytes", "database",
                             writer.database.stat().st_size, 0.05)
        shutil.rmtree(replica)
        writer.database.unlink()
