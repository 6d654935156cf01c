#!/usr/bin/env python3
"""Thousands of databases in a watched directory that come, go, move and are replaced.

A tree of directories with databases is replicated with `watch`. Half of the databases are there at
the start. Then, in an order that the seed decides and as fast as it goes, databases are made,
written, renamed, removed (and made again at once), replaced by a rename, whole directories are
renamed or removed, and files that are no databases become some. Afterwards:

- each database that exists was added within 5 s, by the log, and each that does not was removed;
- after a clean stop each that exists restores to its content;
- the log has no error, and no more lines than there were events; threads are as many as at the
  start; there are as many inotify watches as directories and databases.

A second run begins with databases that were made while nobody looked, and ends with none: then the
descriptors of the first moment are left.
"""
import argparse
import collections
import concurrent.futures
import datetime
import errno
import os
import pathlib
import random
import re
import resource
import shutil
import sqlite3
import sys
import time

import rig
from rig import lab

CONFIG = """\
dbs:
  - dir: {root}
    pattern: '*.db'
    recursive: true
    watch: true
    replica: {{path: {replica}}}
"""
RESTORERS = 2
DETECTION_SECONDS = 5
DESCRIPTORS_EACH = 10
LOG_LINE = re.compile(
    r"^time=(\S+) level=(\S+) msg=(\"(?:[^\"\\]|\\.)*\"|\S+)(?:.*? path=(\S+))?")
ADDED = "added database to replication"
REMOVED = "removed database from replication"


def raise_limit(databases):
    """How many databases the limit of open files is enough for."""
    wanted = databases * DESCRIPTORS_EACH + 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return min(databases, (hard - 1000) // DESCRIPTORS_EACH)
    return databases


class Tree:
    """The databases, and what is in each."""

    def __init__(self, root, chance, directories):
        self.root = root
        self.chance = chance
        self.content = {}  # Path -> rows.
        self.made_at = {}  # Path -> when it became a database there, by the clock of the log.
        self.number = 0
        self.counts = collections.Counter()
        root.mkdir()
        self.directories = [root]
        for i in range(directories):
            parent = root if i < directories // 2 else root / f"t{i - directories // 2}"
            self.directories.append(parent / f"t{i}")
            self.directories[-1].mkdir()

    def new_path(self):
        self.number += 1
        return self.chance.choice(self.directories) / f"{self.number}.db"

    def any_path(self):
        return self.chance.choice(list(self.content))

    def build(self, path, rows):
        """A database in WAL mode, closed by its application."""
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = off")
        connection.execute("CREATE TABLE IF NOT EXISTS t (x TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(row,) for row in rows])
        connection.close()

    def rows(self):
        self.number += 1
        return [f"{self.number}-{i}" for i in range(self.chance.randint(1, 5))]

    def note(self, path, rows):
        self.content[path] = rows
        self.made_at[path] = time.time()

    def forget(self, path):
        del self.content[path]
        del self.made_at[path]

    def create(self):
        path, rows = self.new_path(), self.rows()
        kind = self.chance.random()
        if kind < 0.1:
            path.touch()  # Found empty, and a database later.
        elif kind < 0.2:
            path.write_text("this is no database yet")
            path.write_bytes(b"")
        self.build(path, rows)
        self.note(path, rows)

    def write(self):
        path, rows = self.any_path(), self.rows()
        self.build(path, rows)
        self.content[path] = self.content[path] + rows

    def unlink(self, path):
        for suffix in ("", "-wal", "-shm"):
            pathlib.Path(f"{path}{suffix}").unlink(missing_ok=True)

    def remove(self):
        path = self.any_path()
        self.unlink(path)
        self.forget(path)
        if self.chance.random() < 0.5:
            rows = self.rows()
            self.build(path, rows)
            self.note(path, rows)

    def rename(self):
        source, target = self.any_path(), self.new_path()
        wal = pathlib.Path(f"{source}-wal")
        if wal.exists():
            wal.rename(f"{target}-wal")
        pathlib.Path(f"{source}-shm").unlink(missing_ok=True)
        source.rename(target)
        self.note(target, self.content[source])
        self.forget(source)

    def replace(self):
        path, rows = self.any_path(), self.rows()
        fresh = path.with_suffix(".new")
        self.build(fresh, rows)
        for suffix in ("-wal", "-shm"):
            pathlib.Path(f"{path}{suffix}").unlink(missing_ok=True)
        fresh.rename(path)
        self.content[path] = rows

    def below(self, directory):
        return [path for path in self.content if directory in path.parents]

    def rename_directory(self):
        """One at the top, with what is in it."""
        top = [d for d in self.directories if d.parent == self.root]
        if not top:
            return
        source = self.chance.choice(top)
        self.number += 1
        target = self.root / f"r{self.number}"
        source.rename(target)
        for path in self.below(source):
            moved = target / path.relative_to(source)
            self.note(moved, self.content[path])
            self.forget(path)
        self.directories = [target / d.relative_to(source)
                            if d == source or source in d.parents else d
                            for d in self.directories]
        if self.chance.random() < 0.5:
            source.mkdir()
            self.directories.append(source)

    def remove_directory(self):
        leaves = [d for d in self.directories if d.parent != self.root and d != self.root]
        if not leaves:
            return
        leaf = self.chance.choice(leaves)
        remove_tree(leaf)
        for path in self.below(leaf):
            self.forget(path)
        leaf.mkdir()

    def act(self, wanted):
        """One thing; databases become more while there are less than `wanted`."""
        grow = 45 if len(self.content) < wanted else 4
        name, = self.chance.choices(
            ("create", "write", "remove", "rename", "replace", "rename_directory",
             "remove_directory"), (grow, 25, 12, 12, 8, 0.4, 0.1))
        getattr(self, name)()
        self.counts[name] += 1


# Each of the databases in a tree may make something new once.
REMOVALS = 20


def remove_tree(directory):
    """As `rm -rf`, again while something is left: of a database whose -wal goes before the file
    itself, whoever has it open makes a new one, as any other application would."""
    for attempt in range(REMOVALS):
        try:
            return shutil.rmtree(directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or attempt == REMOVALS - 1:
                raise


class Log:
    """What the log says of each path."""

    def __init__(self, path):
        self.lines = path.read_text(errors="replace").splitlines()
        self.live = set()
        self.added_at = {}
        self.levels = collections.Counter()
        self.messages = collections.Counter()
        self.errors = []
        for line in self.lines:
            match = LOG_LINE.match(line)
            if not match:
                continue
            when, level, message, path_ = match.groups()
            message = message.strip('"')
            self.levels[level] += 1
            self.messages[f"{level} {message}"] += 1
            if level == "ERROR":
                self.errors.append(line)
            if message in (ADDED, "initialized db"):
                self.live.add(path_)
                self.added_at[path_] = datetime.datetime.fromisoformat(
                    when.replace("Z", "+00:00")).timestamp()
            elif message == REMOVED:
                self.live.discard(path_)


def proc(process, name):
    return pathlib.Path(f"/proc/{process.pid}/{name}")


def count(process, name):
    return len(os.listdir(proc(process, name)))


def watches(process):
    total = 0
    for entry in proc(process, "fdinfo").iterdir():
        try:
            total += entry.read_text().count("inotify wd:")
        except OSError:
            continue
    return total


def cpu_seconds(process):
    fields = proc(process, "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class DirectoryTest:
    def __init__(self, box, options):
        self.box = box
        self.options = options
        self.tool = lab.Litestream(box, options.binary)
        self.tree = Tree(box.path("root"), random.Random(options.seed),
                         options.directories)
        self.replica = box.path("replica")
        self.config = box.path("litestream.yml")
        self.log = box.path("log")
        self.began = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self.began:5.1f} s: {text}", flush=True)

    def start(self):
        self.log.unlink(missing_ok=True)
        self.config.write_text(CONFIG.format(root=self.tree.root, replica=self.replica))
        return self.tool.replicate_config(self.config, self.log)

    def wait_until_tracked(self, timeout):
        """The log agrees with the tree."""
        wanted = {str(path) for path in self.tree.content}
        try:
            lab.wait_for("tracked", lambda: Log(self.log).live == wanted, timeout, step=0.2)
        except lab.LabError as error:
            live = Log(self.log).live
            raise lab.LabError(
                f"after {timeout} s {len(wanted - live)} not tracked: {sorted(wanted - live)[:5]}, "
                f"{len(live - wanted)} still: {sorted(live - wanted)[:5]}") from error

    def require_sane(self, process, threads):
        """Threads, watches, log."""
        lab.require(count(process, "task") <= threads + 1,
                    f"{count(process, 'task')} threads, {threads} at the start")
        # A parked database has one on its file and one on its log.
        most = 2 * len(self.tree.content) + len(self.tree.directories) + 20
        lab.wait_for("the watches of what is gone to end", lambda: watches(process) <= most)
        log = Log(self.log)
        lab.require(not log.errors, "errors in the log:\n" + "\n".join(log.errors[:10]))
        done = sum(self.tree.counts.values()) + self.options.databases
        lab.require(len(log.lines) < 20 * done, f"{len(log.lines)} lines for {done} events")
        return log

    def churn(self):
        tree, wanted = self.tree, self.options.databases
        begin = time.monotonic()
        end = begin + self.options.seconds
        done = 0
        while time.monotonic() < end or len(tree.content) < wanted:
            tree.act(wanted)
            done += 1
            time.sleep(max(0, begin + done / self.options.rate - time.monotonic()))

    def first_run(self):
        for _ in range(self.options.databases // 2):
            self.tree.create()
        self.say(f"{len(self.tree.content)} databases made")
        process = self.start()
        lab.wait_for("the start", lambda: self.log.exists() and Log(self.log).messages.get(
            "INFO found databases in directory"), 30)
        lab.wait_for("the threads", lambda: count(process, "task") > 8)
        threads = count(process, "task")
        self.churn()
        self.say(f"churned: {dict(self.tree.counts)}; {len(self.tree.content)} databases, "
                 f"{cpu_seconds(process):.1f} s of CPU")
        self.wait_until_tracked(DETECTION_SECONDS)
        log = self.require_sane(process, threads)
        late = max((log.added_at[str(path)] - made, path)
                   for path, made in self.tree.made_at.items())
        lab.require(late[0] < DETECTION_SECONDS, f"{late[1]} was found after {late[0]:.1f} s")
        descriptors = count(process, "fd")
        lab.require(descriptors < DESCRIPTORS_EACH * (len(self.tree.content) + 100),
                    f"{descriptors} descriptors")
        self.say(f"all tracked, the slowest {late[0]:.2f} s after it was made; {descriptors} "
                 f"descriptors, {watches(process)} watches, {threads} threads; "
                 f"log {dict(log.levels)}")
        lab.require(lab.stop(process) == 0, f"replicate: exit {process.returncode}")
        errors = Log(self.log).errors
        lab.require(not errors, "errors in the log:\n" + "\n".join(errors[:10]))

    def compare(self, path):
        copy = self.box.path("copies") / f"{abs(hash(path))}"
        self.tool.must_restore(self.replica / path.relative_to(self.tree.root), copy)
        connection = sqlite3.connect(copy)
        rows = [row for row, in connection.execute("SELECT x FROM t ORDER BY rowid")]
        connection.close()
        copy.unlink()
        return path if rows != self.tree.content[path] else None

    def compare_all(self):
        self.box.path("copies").mkdir()
        with concurrent.futures.ThreadPoolExecutor(RESTORERS) as pool:
            wrong = [path for path in pool.map(self.compare, self.tree.content) if path]
        lab.require(not wrong, f"{len(wrong)} databases restore to something else: {wrong[:5]}")
        self.say(f"{len(self.tree.content)} databases restored, each to its content")

    def second_run(self):
        for _ in range(50):
            self.tree.create()
        process = self.start()
        self.wait_until_tracked(30)
        self.say(f"started again: {len(self.tree.content)} databases")
        for directory in list(self.tree.root.iterdir()):
            if directory.is_dir():
                remove_tree(directory)
            else:
                directory.unlink()
        self.tree.content.clear()
        self.wait_until_tracked(DETECTION_SECONDS)
        lab.wait_for("the databases to be let go of", lambda: count(process, "fd") < 100)
        lab.wait_for("their watches to end", lambda: watches(process) <= 2)
        self.say(f"all removed: {count(process, 'fd')} descriptors, {watches(process)} watches")
        lab.require(lab.stop(process) == 0, f"replicate: exit {process.returncode}")
        errors = Log(self.log).errors
        lab.require(not errors, "errors in the log:\n" + "\n".join(errors[:10]))

    def run(self):
        self.first_run()
        self.compare_all()
        self.second_run()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--databases", type=int, default=2500)
    parser.add_argument("--directories", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10, help="of churn, at least")
    parser.add_argument("--rate", type=float, default=400, help="events a second, at most")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="keep the folder after a failure")
    options = parser.parse_args()
    options.databases = raise_limit(options.databases)
    print(f"seed {options.seed}, {options.databases} databases", flush=True)
    box = lab.Lab("directory-test", keep=options.keep)
    with box:
        test = DirectoryTest(box, options)
        try:
            test.run()
        except lab.LabError as error:
            log = "\n".join(Log(test.log).lines[-20:]) if test.log.exists() else ""
            print(f"FAILED: {error}\nin {box.folder}, --seed {options.seed}; the end of the log:\n"
                  f"{log}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
