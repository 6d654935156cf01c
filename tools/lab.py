"""Processes, folders and checks that the demonstration, the whole-process tests and the benchmarks
share. Standard library only.

A Lab owns a temporary folder and every process started through it; both are gone when it is left,
also after an exception or Ctrl-C, and what start() started also dies with its parent.
"""
import bisect
import ctypes
import dataclasses
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1
LTX_NAME = re.compile(r"^([0-9a-f]{16})-([0-9a-f]{16})\.ltx$")
_LIBC = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something that had to hold did not."""


def _die_with_parent():
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def require(condition, message):
    if not condition:
        raise LabError(message)


class Lab:
    """A temporary folder and the processes that work in it."""

    def __init__(self, name="litestream", parent=None, keep=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=parent))
        self._keep = keep
        self._processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return self.folder / name

    def start(self, command, log=None, env=None):
        """Starts a process; its output goes to the file `log` (appended), or nowhere."""
        with open(log if log else os.devnull, "ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, env=env, cwd=self.folder,
                preexec_fn=_die_with_parent)
        self._processes = [p for p in self._processes if p.poll() is None]
        self._processes.append(process)
        return process

    def running(self):
        """What start() started and has not ended."""
        return [process for process in self._processes if process.poll() is None]

    def run(self, command, timeout=120, env=None, stdin=None):
        """Runs a process to its end. Returns it with text output; does not judge the exit code.

        Callable from several threads.
        """
        try:
            return subprocess.run(
                [str(word) for word in command], input=stdin, capture_output=True, text=True,
                env=env, cwd=self.folder, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{command[0]}: no end after {timeout} s: {command}") from error

    def must(self, command, timeout=120, env=None, stdin=None):
        """The same, but a failure is an error. Returns what it printed."""
        done = self.run(command, timeout, env, stdin)
        require(done.returncode == 0, f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                f"{done.stdout}{done.stderr}")
        return done.stdout


def stop(process, timeout=60):
    """SIGTERM, then waits. Returns the exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"process {process.pid}: no end within {timeout} s of SIGTERM") from error


def kill(process):
    process.kill()
    process.wait()


def wait_for(what, condition, timeout=30, step=0.01):
    """Waits until `condition()` is true; returns what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        require(time.monotonic() < deadline, f"{what}: not within {timeout} s")
        time.sleep(step)


@dataclasses.dataclass(frozen=True, order=True)
class LtxFile:
    level: int
    min_txid: int
    max_txid: int
    size: int = dataclasses.field(compare=False)
    time: float = dataclasses.field(compare=False)  # Of the file, which has the header's time.


def replica_files(replica):
    """The LTX files in a replica directory, sorted. A file that goes meanwhile is left out."""
    found = []
    root = pathlib.Path(replica) / "ltx"
    for level in range(10):
        try:
            entries = list(os.scandir(root / str(level)))
        except FileNotFoundError:
            continue
        for entry in entries:
            match = LTX_NAME.match(entry.name)
            if not match:
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            found.append(LtxFile(level, int(match[1], 16), int(match[2], 16), status.st_size,
                                 status.st_mtime_ns / 1e9))
    return sorted(found)


def newest_txid(files):
    return max((file.max_txid for file in files), default=0)


def restorable_txids(files):
    """Every TXID at which some chain of whole files ends, in ascending order.

    A chain begins with a file that starts at 1; the next one starts at or before the end of what
    there is plus one, and reaches further.
    """
    ends = []
    for file in sorted(files, key=lambda f: (f.max_txid, f.min_txid)):
        at = bisect.bisect_left(ends, file.min_txid - 1)
        if file.min_txid == 1 or (at < len(ends) and ends[at] < file.max_txid):
            if not ends or ends[-1] < file.max_txid:
                ends.append(file.max_txid)
    return ends


def format_time(seconds):
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Litestream:
    """The program under test, by its command line alone."""

    def __init__(self, lab, binary):
        self.lab = lab
        self.binary = pathlib.Path(binary).resolve()

    def replicate(self, database, replica, log=None):
        return self.lab.start([self.binary, "replicate", database, url(replica)], log)

    def replicate_config(self, config, log=None, arguments=(), env=None):
        return self.lab.start([self.binary, "replicate", "-config", config, *arguments], log, env)

    def restore(self, replica, output, txid=None, timestamp=None, timeout=300):
        """Returns the finished process."""
        command = [self.binary, "restore", "-o", output]
        if txid is not None:
            command += ["-txid", f"{txid:016x}"]
        if timestamp is not None:
            command += ["-timestamp", timestamp]
        return self.lab.run(command + [url(replica)], timeout)

    def must_restore(self, replica, output, txid=None, timestamp=None):
        done = self.restore(replica, output, txid, timestamp)
        require(done.returncode == 0, f"restore of {replica} at {txid or timestamp or 'the end'}: "
                f"exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def ltx(self, replica, level="all"):
        return json.loads(self.lab.must(
            [self.binary, "ltx", "-level", level, "-json", url(replica)]))

    def verify(self, replica):
        """Returns the finished process of `verify`."""
        return self.lab.run([self.binary, "verify", url(replica)], timeout=600)


def url(replica):
    text = str(replica)
    return text if "://" in text else "file://" + text


class Writer:
    """tests/support/writer: writes to a database, and checks copies of it."""

    def __init__(self, lab, binary, database, journal):
        self.lab = lab
        self.binary = pathlib.Path(binary).resolve()
        self.database = pathlib.Path(database)
        self.journal = pathlib.Path(journal)

    def command(self, **options):
        words = [self.binary, self.database, "--journal", self.journal]
        for name, value in options.items():
            if value is True:
                words.append("--" + name.replace("_", "-"))
            elif value is not None and value is not False:
                words += ["--" + name.replace("_", "-"), value]
        return words

    def start(self, log=None, **options):
        return self.lab.start(self.command(**options), log)

    def run(self, timeout=600, **options):
        """Runs to the end; returns the summary."""
        return json.loads(self.lab.must(self.command(json=True, **options), timeout))

    def check(self, copy):
        """Proves that `copy` is a state that was committed; returns its counter."""
        return int(self.lab.must([self.binary, "--check", copy, self.journal], timeout=600))

    def journal_lines(self):
        """(counter, time in seconds) of every whole line."""
        try:
            text = self.journal.read_bytes()
        except FileNotFoundError:
            return []
        lines = text[:text.rfind(b"\n") + 1].split(b"\n")[:-1]
        return [(int(words[0]), int(words[2]) / 1e9) for words in (line.split() for line in lines)]


def checkpointed_copy(lab, database, name):
    """A copy of a database that nobody writes to, with its log moved into the file."""
    copy = lab.path(name)
    for suffix in ("", "-wal"):
        source = pathlib.Path(str(database) + suffix)
        target = pathlib.Path(str(copy) + suffix)
        target.unlink(missing_ok=True)
        if source.exists():
            shutil.copyfile(source, target)
    pathlib.Path(str(copy) + "-shm").unlink(missing_ok=True)
    lab.must(["sqlite3", copy, "PRAGMA wal_checkpoint(TRUNCATE)"])
    return copy


def copy_tree(source, target):
    """The files below a directory, without its rights: it may be one that nobody may write to."""
    for folder, _, names in os.walk(source):
        here = pathlib.Path(target) / pathlib.Path(folder).relative_to(source)
        here.mkdir(parents=True)
        for name in names:
            shutil.copyfile(pathlib.Path(folder) / name, here / name)


def first_difference(left, right, page_size=4096):
    """None if the files are equal, else words about where they differ."""
    left, right = pathlib.Path(left), pathlib.Path(right)
    sizes = left.stat().st_size, right.stat().st_size
    if sizes[0] != sizes[1]:
        return f"sizes differ: {sizes[0]} and {sizes[1]} bytes"
    with open(left, "rb") as a, open(right, "rb") as b:
        page = 1
        while True:
            x, y = a.read(page_size), b.read(page_size)
            if x != y:
                offset = next(i for i in range(len(x)) if x[i] != y[i])
                return f"page {page} of {page_size} bytes differs at byte {offset}"
            if not x:
                return None
            page += 1


def human_bytes(count):
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""
