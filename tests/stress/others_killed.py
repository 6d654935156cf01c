#!/usr/bin/env python3
"""SIGKILL for the others: a restore at random moments, and the first of two replicators.

restore: whatever the moment, the output is not there, or is the database that it was before
(-force), or is the restored one, whole. The next restore leaves nothing of the killed ones behind.

heir: a second replicator of the same database waits, and touches nothing; when the first one is
killed it goes on where that one was, for both replicas of the database.
"""
import argparse
import random
import sys
import time

import rig
from rig import lab

RESTORES = 40
CONFIG = """\
dbs:
  - path: {database}
    monitor-interval: 50ms
    replicas:
      - {{path: {first}, sync-interval: 50ms}}
      - {{path: {second}, sync-interval: 300ms}}
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


TESTS = {"restore": restore, "heir": heir}


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
