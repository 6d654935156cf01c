#!/usr/bin/env python3
"""Cuts the power of a real file system under a live writer and the replicator, then restores.

An ext4 image on a loop device is told to shut down without writing anything more
(EXT4_IOC_SHUTDOWN, as file-system developers test their journals): what was not synced is gone for
good. Both processes are killed, the image is mounted again, its journal replayed, and they go on.
Afterwards every TXID of every life is a state that the writer committed, what the replica had
confirmed is there, and the newest state is the source byte for byte.

Episodes differ in whether the application syncs its commits (then none of them may be lost), and
in whether the replica is on the disk that loses its power. Needs root and a loop device; where
these are not to be had, it says so and ends with code 77.
"""
import argparse
import dataclasses
import fcntl
import os
import pathlib
import random
import struct
import subprocess
import sys
import time

import rig
from rig import lab

IMAGE_BYTES = 192 << 20
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2  # Nothing more reaches the disk, not even what the journal holds.
CANNOT_RUN = 77


class CannotRun(Exception):
    """This machine does not let us mount a file system."""


class Disk:
    """A file system of our own that can lose its power."""

    def __init__(self, box):
        self.image = box.path("disk.img")
        self.mount_point = box.path("disk")
        self.mount_point.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        self._try(["mkfs.ext4", "-q", self.image])
        self.device = self._try(["losetup", "--find", "--show", self.image])
        self.mounted = False

    def close(self):
        self.unmount()
        self._try(["losetup", "--detach", self.device])

    @staticmethod
    def _try(command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise CannotRun(str(error)) from error
        if done.returncode != 0:
            raise CannotRun(f"{command[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def mount(self):
        self._try(["mount", self.device, self.mount_point])
        self.mounted = True

    def unmount(self):
        if self.mounted:
            # A killed process may still be on its way out of a call.
            lab.wait_for("umount", lambda: subprocess.run(
                ["umount", self.mount_point], capture_output=True, check=False).returncode == 0)
            self.mounted = False

    def cut_power(self):
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)


class Lives(lab.Writer):
    """A writer whose database may fall back to an earlier commit and go on from there.

    Each such life has a journal. What the replicator captured before the power failure may be sent
    after it, so a copy may be of any life.
    """

    def __init__(self, writer, database):
        super().__init__(writer.lab, writer.binary, database, writer.journal)
        self.earlier = []

    def check(self, copy):
        try:
            return super().check(copy)
        except lab.LabError:
            for journal in self.earlier:
                done = self.lab.run([self.binary, "--check", copy, journal])
                if done.returncode == 0:
                    return int(done.stdout)
            raise

    def begin_new_life(self, survived):
        """What was behind that commit never was."""
        self.earlier.append(self.journal.rename(f"{self.journal}.{len(self.earlier)}"))
        lines = self.earlier[-1].read_bytes().splitlines(keepends=True)
        kept = [line for line in lines
                if line.endswith(b"\n") and int(line.split()[0]) <= survived]
        self.journal.write_bytes(b"".join(kept))


@dataclasses.dataclass(frozen=True)
class Episode:
    name: str
    synchronous: str
    replica_on_disk: bool
    writer: dict


EPISODES = (
    Episode("every commit synced, replica on the same disk", "full", True,
            {"autocheckpoint": 200}),
    Episode("commits not synced, replica elsewhere", "normal", False,
            {"autocheckpoint": 0, "page_size": 1024}),
    Episode("every commit synced, replica elsewhere, large commits", "full", False,
            {"autocheckpoint": 1000, "large_every": 60, "large_bytes": 1 << 20}),
    Episode("commits not synced, replica on the same disk, vacuum", "normal", True,
            {"autocheckpoint": 100, "vacuum_every": 90, "shrink_every": 70}),
)


class PowerTest:
    """One episode."""

    def __init__(self, box, options, episode, chance):
        self.episode = episode
        self.chance = chance
        self.disk = Disk(box)
        self.rig = rig.Rig(box, options.binary, options.writer, "episode")
        self.rig.writer = Lives(self.rig.writer, self.disk.mount_point / "db")
        if episode.replica_on_disk:
            self.rig.replica = self.disk.mount_point / "replica"
        self.rig.write_config()
        self.box = box
        self.cuts = self.points = self.lost = 0

    def run(self, cuts):
        try:
            self.disk.mount()
            self.rig.writer.run(count=1, synchronous="full", **self.episode.writer)
            for number in range(cuts):
                self.one_life(number)
            self.rig.catch_up()
            self.rig.compare_newest()
            self.points += self.check_txids()
            self.rig.verify()
        finally:
            self.disk.close()

    def one_life(self, number):
        writing = self.rig.writer.start(rate=300, seed=number, keep_bytes=2 << 20, log=self.rig.log,
                                        synchronous=self.episode.synchronous, **self.episode.writer)
        replicator = self.rig.start_replicator()
        time.sleep(self.chance.choice((self.chance.uniform(0.02, 0.3),
                                       self.chance.uniform(0.3, 2.0))))
        lab.require(replicator.poll() is None, "replicate ended by itself")
        lab.require(writing.poll() is None, "the writer ended by itself")
        # A file is sent when the one before is confirmed: all but the newest are.
        confirmed = lab.replica_files(self.rig.replica)[:-1]
        committed = self.rig.writer.journal_lines()[-1][0]
        self.disk.cut_power()
        for process in (writing, replicator):
            lab.kill(process)
        self.disk.unmount()
        self.disk.mount()
        self.cuts += 1
        self.after_the_cut(confirmed, committed)

    def after_the_cut(self, confirmed, committed):
        there = lab.replica_files(self.rig.replica)
        lost = [file for file in confirmed if file not in there]
        lab.require(not lost, f"confirmed, and gone after the power failure: {lost}")
        if there:
            self.rig.verify()
        self.points += self.check_txids()
        survived = self.rig.writer.check(
            lab.checkpointed_copy(self.box, self.rig.database, "survivor"))
        self.lost += max(0, committed - survived)
        if self.episode.synchronous == "full":
            lab.require(survived >= committed, f"the application lost commit {committed}")
        # Also where commits are synced: one whose sync met the power failure may have been told of.
        self.rig.writer.begin_new_life(survived)

    def check_txids(self):
        # An application that fell back to an earlier commit goes through its counters again.
        return self.rig.check_txids(in_order=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer", required=True)
    parser.add_argument("--cuts", type=int, default=5, help="an episode")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--folder", type=pathlib.Path, help="where to work")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    for number, episode in enumerate(EPISODES):
        with lab.Lab("power-test", parent=options.folder) as box:
            try:
                test = PowerTest(box, options, episode,
                                 random.Random(options.seed * 1000003 + number))
                test.run(options.cuts)
            except CannotRun as error:
                print(f"cannot run here: {error}")
                return CANNOT_RUN
            except lab.LabError as error:
                print(f"FAILED in {episode.name}, --seed {options.seed}: {error}\n"
                      f"the end of the log:\n{test.rig.log_tail()}")
                return 1
            print(f"{test.cuts} cuts, {test.lost} commits that nobody had synced lost, "
                  f"{test.points} TXIDs restored and checked: {episode.name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
