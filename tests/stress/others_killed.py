#!/usr/bin/env python3
"""SIGKILL for the others: a restore at random moments, the first of two replicators, the holder of
a lease.

restore: whatever the moment, the output is not there, or is the database that it was before
(-force), or is the restored one, whole. The next restore leaves nothing of the killed ones behind.

heir: a second replicator of the same database waits, and touches nothing; when the first one is
killed it goes on where that one was, for both replicas of the database.

standby: a second replicator with a state directory of its own writes nothing to the replica while
the first has the lease; when that one is killed it takes over within the life of the lease, above
what is there, and changes nothing of that. The first one, started again, waits in its turn.
"""
import argparse
import random
import sys
import time

import rig
from rig import lab

RESTORES = 40
LEASE_SECONDS = 30
CONFIG = """\
dbs:
  - path: {database}
    monitor-interval: 50ms
    replicas:
      - {{path: {first}, sync-interval: 50ms}}
      - {{path: {second}, sync-interval: 300ms}}
"""
STANDBY = """\
dbs:
  - path: {database}
    meta-path: {meta}
    monitor-interval: 50ms
    replica: {{path: {replica}, sync-interval: 200ms}}
"""


def restore(one, chance):
    one.write_config()
    one.writer.run(fill_bytes=24 << 20, count=20, page_size=4096)
    one.catch_up()
    one.writer.run(count=30)
    one.catch_up()
    folder = one.folder / "restored"
    folder.mkdir()
    output = folder / "db"
    lab.checkpointed_copy(one.box, one.database, "source")
    whole = one.box.path("source").read_bytes()
    began = time.monotonic()
    one.tool.must_restore(one.replica, output)
    takes = time.monotonic() - began
    lab.require(output.read_bytes() == whole, "the restored database is another one")
    old = b"an older database" * 1000
    seen = set()
    for _ in range(RESTORES):
        force = chance.random() < 0.5
        output.unlink(missing_ok=True)
        if force:
            output.write_bytes(old)
        process = one.box.start([one.tool.binary, "restore", "-o", output]
                                + (["-force", "-integrity-check", "quick"] if force else [])
                                + [lab.url(one.replica)])
        time.sleep(chance.uniform(0, takes * 1.3))
        lab.kill(process)
        content = output.read_bytes() if output.exists() else None
        lab.require(content in (whole, old if force else None),
                    f"a killed restore left {len(content or b'')} bytes as the database")
        seen.add((force, content == whole))
    output.unlink(missing_ok=True)
    one.tool.must_restore(one.replica, output)
    left = sorted(path.name for path in folder.iterdir())
    lab.require(left == ["db"], f"killed restores left {left}")
    lab.require(output.read_bytes() == whole, "the restored database is another one")
    return f"{RESTORES} killed restores, {len(seen)} kinds of outcome"


def heir(one, chance):
    second = one.folder / "second"
    one.config.write_text(CONFIG.format(database=one.database, first=one.replica, second=second))
    one.writer.run(count=5)
    writing = one.writer.start(rate=200, log=one.log)
    first = one.start_replicator()
    lab.wait_for("the first file", lambda: lab.replica_files(one.replica))
    for _ in range(4):
        waiting = one.start_replicator()
        time.sleep(chance.uniform(0.5, 1.5))
        lab.require(waiting.poll() is None and first.poll() is None, "a replicator ended by itself")
        lab.kill(first)
        had = lab.newest_txid(lab.replica_files(one.replica))
        lab.wait_for("the heir", lambda h=had: all(
            lab.newest_txid(lab.replica_files(replica)) > h + 2
            for replica in (one.replica, second)), 60)
        first = waiting
    lab.require(lab.stop(writing) == 0, "the writer failed")
    lab.require(lab.stop(first) == 0, "the heir failed")
    for replica in (second, one.replica):
        one.replica = replica
        one.compare_newest()
        one.verify()
    one.check_txids(sample=60)
    return f"{len(one.checked)} TXIDs as committed, both replicas level"


def standby(one, chance):
    configs, logs = [], []
    for n in range(2):
        configs.append(one.folder / f"{n}.yml")
        logs.append(one.folder / f"log-{n}")
        configs[n].write_text(STANDBY.format(database=one.database, meta=one.folder / f"meta-{n}",
                                             replica=one.replica))

    def start(n):
        return one.tool.replicate_config(configs[n], logs[n])

    def uploads(n):
        return logs[n].read_text(errors="replace").count('msg="ltx file uploaded"')

    one.log = logs[1]
    one.writer.run(count=5)
    writing = one.writer.start(rate=20, log=one.folder / "writer-log")
    first = start(0)
    lab.wait_for("the first upload", lambda: uploads(0) > 0)
    second = start(1)
    time.sleep(chance.uniform(LEASE_SECONDS, LEASE_SECONDS + 10))
    lab.require(first.poll() is None and second.poll() is None, "a replicator ended by itself")
    lab.require(uploads(1) == 0, "the second one writes although the first has the lease")
    said = logs[1].read_text(errors="replace").count("another process has the lease")
    lab.require(said == 1, f"the second one said {said} times that it waits")
    lab.kill(first)
    killed = time.monotonic()
    had = {path: path.read_bytes() for path in one.replica.rglob("*.ltx")}
    lab.wait_for("the second one", lambda: uploads(1) > 0, LEASE_SECONDS + 15)
    took = time.monotonic() - killed
    # Back again, with what it had captured and not uploaded: now it is the one that waits.
    before = uploads(0)
    first = start(0)
    time.sleep(5)
    lab.require(uploads(0) == before, "the first one writes although the second has the lease")
    changed = [path for path, content in had.items()
               if path.exists() and path.read_bytes() != content]
    lab.require(not changed, f"what was there has other content now: {changed}")
    lab.require(lab.stop(writing) == 0, "the writer failed")
    lab.kill(first)
    lab.require(lab.stop(second) == 0, "the second one failed")
    one.compare_newest()
    one.verify()
    one.check_txids(sample=60)
    return f"taken over after {took:.0f} s, {len(one.checked)} TXIDs as committed"


TESTS = {"restore": restore, "heir": heir, "standby": standby}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer", required=True)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("test", choices=sorted(TESTS))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with lab.Lab("others-killed") as box:
        one = rig.Rig(box, options.binary, options.writer, options.test)
        try:
            print(f"{options.test}: {TESTS[options.test](one, random.Random(options.seed))}")
        except lab.LabError as error:
            print(f"FAILED, --seed {options.seed}: {error}\nthe end of the log:\n{one.log_tail()}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
