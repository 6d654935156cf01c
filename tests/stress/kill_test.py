#!/usr/bin/env python3
"""Kills the replicator with SIGKILL at random moments under a live writer, then restores.

After each episode of some twenty kills: the newest state equals the source byte for byte; every
TXID that can be restored passes SQLite's integrity check and is a state that the writer committed,
in order; `litestream verify` agrees; no temporary file is left. Episodes differ in how the
application treats its log, in page size and vacuum, in the replicator's cadence, and in what
happens while the replicator is down: the writer goes on, closes the database, or is killed.

Moments and episodes come from the seed, which is printed; the processes themselves run freely.
"""
import argparse
import concurrent.futures
import dataclasses
import random
import signal
import sys
import time

import rig
from rig import lab

KILLS_PER_EPISODE = 20


@dataclasses.dataclass(frozen=True)
class Episode:
    name: str
    writer: dict
    config: dict


# About this many commits a second fill neither the journal nor the disk.
RATE = 300
EPISODES = (
    Episode("the application never checkpoints", {"autocheckpoint": 0}, {}),
    Episode("the application checkpoints often", {"autocheckpoint": 50, "page_size": 1024}, {}),
    Episode("vacuum and shrinking",
            {"autocheckpoint": 1000, "auto_vacuum": "incremental", "shrink_every": 150,
             "vacuum_every": 230, "keep_bytes": 2 << 20, "page_size": 512}, {}),
    Episode("large commits, every kind of checkpoint, a log cut short",
            {"autocheckpoint": 0, "large_every": 120, "large_bytes": 2 << 20,
             "checkpoint_every": 40, "checkpoint_mode": "cycle", "journal_size_limit": 0,
             "keep_bytes": 4 << 20}, {"checkpoint_pages": 1000}),
    Episode("long readers, slow cadence",
            {"autocheckpoint": 200, "reader_every": 90, "reader_seconds": 0.5,
             "auto_vacuum": "full", "keep_bytes": 1 << 20},
            {"monitor": "300ms", "sync": "700ms"}),
)


class KillTest:
    """One episode."""

    def __init__(self, rig_, episode, chance):
        self.rig = rig_
        self.episode = episode
        self.chance = chance
        self.writing = None
        self.starts = 0

    def start_writer(self):
        self.starts += 1
        self.writing = self.rig.writer.start(
            rate=RATE, seed=self.starts, log=self.rig.log, **self.episode.writer)

    def stop_writer(self):
        """A clean stop; it takes the log along. One that has barely begun ends by the signal."""
        code = lab.stop(self.writing)
        lab.require(code in (0, -signal.SIGTERM), f"the writer failed, exit {code}")

    def require_writer(self):
        lab.require(self.writing.poll() is None,
                    f"the writer ended by itself, exit {self.writing.returncode}")

    def pause(self):
        """How long the replicator lives: often well into its work, sometimes barely started."""
        kind = self.chance.random()
        if kind < 0.2:
            time.sleep(self.chance.uniform(0, 0.05))
        elif kind < 0.9:
            time.sleep(self.chance.uniform(0.05, 0.8))
        else:
            time.sleep(self.chance.uniform(0.8, 2.5))

    def while_down(self):
        kind = self.chance.random()
        if kind < 0.5:
            return
        self.require_writer()
        if kind < 0.7:
            self.stop_writer()
        elif kind < 0.85:
            lab.kill(self.writing)
        if self.writing.poll() is not None:
            if self.chance.random() < 0.3:
                return  # The replicator comes back first.
            self.start_writer()
        time.sleep(self.chance.uniform(0, 0.3))

    def run(self, kills):
        self.rig.write_config(**self.episode.config)
        self.start_writer()
        lab.wait_for("the first commit", lambda: len(self.rig.writer.journal_lines()) > 1)
        for _ in range(kills):
            replicator = self.rig.start_replicator()
            if self.writing.poll() is not None:
                time.sleep(self.chance.uniform(0, 0.2))
                self.start_writer()
            self.pause()
            lab.require(replicator.poll() is None,
                        f"replicate ended by itself, exit {replicator.returncode}")
            lab.kill(replicator)
            self.while_down()
        self.finish()

    def finish(self):
        if self.writing.poll() is None:
            if self.chance.random() < 0.5:
                lab.kill(self.writing)
            else:
                self.stop_writer()
        # A clean run after the last kill, by a signal or by itself.
        clean = False
        if self.chance.random() < 0.5:
            replicator = self.rig.start_replicator()
            time.sleep(self.chance.uniform(0.1, 1.0))
            code = lab.stop(replicator)
            lab.require(code in (0, -signal.SIGTERM), f"replicate: exit {code} at SIGTERM")
            clean = code == 0  # Else it had barely begun.
        if not clean:
            self.rig.catch_up()
        self.rig.require_no_leftovers()
        self.rig.compare_newest()
        self.rig.check_txids()
        self.rig.verify()


def run_episode(options, number, kills):
    """Returns how many TXIDs were checked, or an error with all that is known."""
    episode = EPISODES[number % len(EPISODES)]
    chance = random.Random(options.seed * 1000003 + number)
    box = lab.Lab("kill-test", keep=options.keep)
    with box:
        one = rig.Rig(box, options.binary, options.writer, "episode")
        try:
            KillTest(one, episode, chance).run(kills)
        except lab.LabError as error:
            raise lab.LabError(
                f"episode {number} ({episode.name}), --seed {options.seed}: {error}\n"
                f"in {box.folder}; the end of the log:\n{one.log_tail()}") from error
        return len(one.checked)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer", required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--jobs", type=int, default=1, help="episodes side by side")
    parser.add_argument("--keep", action="store_true", help="keep the folder after a failure")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    killed = points = 0
    sizes = [min(KILLS_PER_EPISODE, options.kills - first)
             for first in range(0, options.kills, KILLS_PER_EPISODE)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(run_episode, options, number, kills): (number, kills)
                   for number, kills in enumerate(sizes)}
        for done in concurrent.futures.as_completed(running):
            number, kills = running[done]
            try:
                points += done.result()
            except lab.LabError as error:
                pool.shutdown(wait=False, cancel_futures=True)
                print(f"FAILED in {error}")
                return 1
            killed += kills
            print(f"{killed} kills, {points} TXIDs restored and checked, "
                  f"{time.monotonic() - began:.0f} s: {EPISODES[number % len(EPISODES)].name}",
                  flush=True)
    print(f"{killed} kills: nothing lost, nothing wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
