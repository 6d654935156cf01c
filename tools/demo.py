#!/usr/bin/env python3
"""The demonstration behind `make run`.

Without --db: creates a database in a temporary folder, lets a program write to it, replicates it to
a directory, kills the replicator once, destroys the database, restores it and three earlier points,
and proves each against the writer's journal. Exits 0 only if everything held.

With --db and --replica: replicates the user's own database until Ctrl-C.
"""
import argparse
import os
import pathlib
import signal
import sys
import time

import lab

COMMITS_PER_SECOND = 400
KILL_AT = 0.45  # Share of the time after which the replicator is killed.
DOWN_SECONDS = 1.0
# The live line is drawn over itself on a terminal, else one line each time.
LIVE = ("\r\x1b[K", "") if sys.stdout.isatty() else ("", "\n")


def say(text=""):
    print(text, flush=True)


def note(seconds, text):
    """What happened, in place of the live line; stays."""
    say(f"{LIVE[0]}  {seconds:4.1f} s  {text}")


class Live:
    """What the replica directory and the journal show from outside."""

    def __init__(self, replica, writer):
        self.replica = replica
        self.writer = writer
        self.lags = []
        self.last_print = 0.0

    def look(self):
        files = lab.replica_files(self.replica)
        lines = self.writer.journal_lines()
        newest = max((file.time for file in files if file.level == 0), default=0)
        waiting = [when for _, when in lines if when > newest]
        return {"txid": lab.newest_txid(files), "commits": lines[-1][0] if lines else 0,
                "lag": time.time() - waiting[0] if waiting else 0.0,
                "bytes": sum(file.size for file in files), "files": len(files)}

    def show(self, seconds, state=""):
        now = self.look()
        self.lags.append(now["lag"])
        step = 0.2 if sys.stdout.isatty() else 2.0
        if time.monotonic() - self.last_print >= step:
            self.last_print = time.monotonic()
            print(f"{LIVE[0]}  {seconds:4.1f} s  {now['commits']:6d} commits   "
                  f"TXID {now['txid']:016x}   lag {now['lag']:4.2f} s   "
                  f"{lab.human_bytes(now['bytes']):>9} in {now['files']} files{state}",
                  end=LIVE[1], flush=True)


def replicate_while_writing(tool, writer, live, log, seconds, down_seconds):
    """Runs the writer and the replicator; kills the latter once. Leaves both running."""
    writing = writer.start(rate=COMMITS_PER_SECOND, large_every=1500, large_bytes=8 << 20,
                           keep_bytes=48 << 20, log=log)
    replicating = tool.replicate(writer.database, live.replica, log)
    began = time.monotonic()
    killed = 0.0
    while (passed := time.monotonic() - began) < seconds:
        if not killed and passed >= seconds * KILL_AT:
            replicating.send_signal(signal.SIGKILL)
            replicating.wait()
            killed = time.monotonic()
            note(passed, "SIGKILL to the replicator; the application writes on")
        if killed and replicating.poll() is not None and replicating.returncode == -signal.SIGKILL:
            if time.monotonic() - killed >= down_seconds:
                replicating = tool.replicate(writer.database, live.replica, log)
                note(passed, "the replicator is started again")
        elif replicating.poll() is not None:
            raise lab.LabError(f"replicate ended by itself, exit {replicating.returncode}:\n"
                               f"{pathlib.Path(log).read_text(errors='replace')[-2000:]}")
        lab.require(writing.poll() is None, "the writer ended by itself")
        live.show(passed, "" if replicating.poll() is None else "   (replicator down)")
        time.sleep(0.1)
    print(LIVE[0], end="", flush=True)
    return writing, replicating


def timed_restore(tool, replica, output, txid=None):
    began = time.monotonic()
    report = tool.must_restore(replica, output, txid=txid)
    proven = "proven" in report and "unproven" not in report
    return time.monotonic() - began, proven


def demonstrate(options, box):
    tool = lab.Litestream(box, options.binary)
    database, replica, log = box.path("app.db"), box.path("replica"), box.path("log")
    writer = lab.Writer(box, options.writer, database, box.path("journal"))
    live = Live(replica, writer)

    say(f"An application writes to {database}:")
    say(f"  {COMMITS_PER_SECOND} small commits a second, now and then one of 8 MB. Each updates a "
        "counter and a checksum")
    say("  over everything it ever did, and is noted in a journal.")
    say(f"litestream replicate {database} file://{replica}")
    writing, replicating = replicate_while_writing(tool, writer, live, log, options.seconds,
                                                   DOWN_SECONDS)

    lab.require(lab.stop(writing) == 0, "the writer failed")
    lab.require(lab.stop(replicating) == 0, "replicate failed at shutdown")
    last = writer.journal_lines()[-1][0]
    original = lab.checkpointed_copy(box, database, "original.db")
    for suffix in ("", "-wal", "-shm"):
        pathlib.Path(str(database) + suffix).unlink(missing_ok=True)
    lab.require(not database.exists(), "the database is still there")
    say(f"Stopped after {last} commits. rm {database}: the database is gone.")

    say("litestream restore:")
    seconds, proven = timed_restore(tool, replica, database)
    counter = writer.check(database)
    lab.require(counter == last, f"restored commit {counter}, the last was {last}")
    difference = lab.first_difference(database, original)
    lab.require(difference is None, f"the restored file is not the original: {difference}")
    say(f"  newest        {lab.human_bytes(database.stat().st_size)} in {seconds:.2f} s, commit "
        f"{counter}, the last one; every byte as in the original; integrity check ok"
        f"{'; proven by litestream' if proven else ''}")

    txids = lab.restorable_txids(lab.replica_files(replica))
    lab.require(len(txids) > 4, f"only {len(txids)} points to restore")
    before = -1
    for quarter in (1, 2, 3):
        txid = txids[len(txids) * quarter // 4]
        copy = box.path(f"earlier-{quarter}.db")
        seconds, proven = timed_restore(tool, replica, copy, txid)
        counter = writer.check(copy)
        lab.require(before < counter < last, f"TXID {txid:016x} holds commit {counter}")
        before = counter
        say(f"  TXID {txid:016x} in {seconds:.2f} s, commit {counter} as the journal has it; "
            f"integrity check ok{'; proven' if proven else ''}")

    done = tool.verify(replica)
    lab.require(done.returncode == 0, f"litestream verify: {done.stdout}{done.stderr}")
    say("litestream verify: " + " ".join(done.stdout.split()))
    say()
    say(f"Shown: {last} commits survived a SIGKILL of the replicator and the loss of the database;")
    say("the newest state is the original byte for byte; it and 3 of the "
        f"{len(txids)} restorable points are states that were committed.")
    up = sorted(live.lags)
    say(f"Lag while running: median {up[len(up) // 2]:.2f} s, at most {up[-1]:.2f} s "
        f"(with {DOWN_SECONDS:.0f} s down).")


def replicate_own(options):
    """Replaces this process: signals and the exit code are the program's own."""
    replica = options.replica if "://" in options.replica else (
        str(pathlib.Path(options.replica).resolve()))
    say(f"litestream replicate {options.db} {replica}   (Ctrl-C to stop)")
    os.execv(options.binary, [options.binary, "replicate", options.db, replica])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer", required=True)
    parser.add_argument("--db")
    parser.add_argument("--replica")
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    if options.db or options.replica:
        if not (options.db and options.replica):
            sys.exit("DB= and REPLICA= go together: "
                     "make run DB=/path/to/app.db REPLICA=/path/to/backup")
        replicate_own(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # Cleans up.
    try:
        with lab.Lab("litestream-demo") as box:
            demonstrate(options, box)
    except lab.LabError as error:
        say(f"\nFAILED: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nstopped")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
