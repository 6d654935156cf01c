#!/usr/bin/env python3
"""Long runs of one kind each, then a byte-for-byte restore: small, vacuum, shrink, large-pages."""
import argparse
import sys
import time

import rig
from rig import lab

GIB = 1 << 30


def small(one, options):
    """Small transactions, as fast as they go."""
    one.write_config(monitor="200ms", sync="200ms")
    replicator = start(one)
    summary = one.writer.run(count=options.commits, keep_bytes=4 << 20)
    lab.require(summary["commits"] == options.commits, "the writer stopped early")
    end(one, replicator, sample=60)


def vacuum(one, _options):
    """VACUUM rewrites every page, between transactions and checkpoints of the application."""
    one.write_config()
    replicator = start(one, page_size=1024)
    one.writer.run(count=3000, rate=1000, vacuum_every=200, shrink_every=450,
                   large_every=300, large_bytes=3 << 20, keep_bytes=8 << 20)
    end(one, replicator, sample=60)


def shrink(one, _options):
    """The file shrinks with every delete, and grows again."""
    one.write_config()
    replicator = start(one, auto_vacuum="full")
    one.writer.run(count=4000, rate=1000, shrink_every=100, large_every=170,
                   large_bytes=2 << 20, autocheckpoint=100)
    end(one, replicator, sample=60)


def large_pages(one, _options):
    """64 KiB pages, above 1 GiB: the lock page lies in the middle and is never stored."""
    one.write_config(monitor="1s", sync="1s", checkpoint_pages=1000)
    one.writer.run(fill_bytes=GIB + (48 << 20), count=1, page_size=65536, keep_bytes=2 * GIB)
    lab.require(one.database.stat().st_size > GIB + (32 << 20), "the database is too small")
    replicator = start(one)
    one.writer.run(count=600, rate=200, large_every=150, keep_bytes=2 * GIB)
    end(one, replicator, sample=2)


def start(one, **options):
    """The first commit makes the tables, so that every TXID has them."""
    one.writer.run(count=1, **options)
    replicator = one.start_replicator()
    lab.wait_for("the first file", lambda: lab.replica_files(one.replica), 120)
    return replicator


def end(one, replicator, sample):
    lab.require(lab.stop(replicator) == 0, f"replicate: exit {replicator.returncode}")
    one.require_no_leftovers()
    one.compare_newest()
    one.check_txids(sample)
    one.verify()


SCENARIOS = {"small": small, "vacuum": vacuum, "shrink": shrink, "large-pages": large_pages}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer", required=True)
    parser.add_argument("--commits", type=int, default=100_000, help="those of `small`")
    parser.add_argument("scenario", choices=sorted(SCENARIOS))
    options = parser.parse_args()
    began = time.monotonic()
    with lab.Lab("scenario") as box:
        one = rig.Rig(box, options.binary, options.writer, options.scenario)
        try:
            SCENARIOS[options.scenario](one, options)
        except lab.LabError as error:
            print(f"FAILED: {error}\nthe end of the log:\n{one.log_tail()}")
            return 1
        print(f"{options.scenario}: {len(one.writer.journal_lines())} commits, newest state and "
              f"{len(one.checked)} TXIDs as committed, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
