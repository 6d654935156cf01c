"""Measuring whole processes: wall time, CPU, memory, medians, and a table with the limits."""
import dataclasses
import os
import pathlib
import statistics
import subprocess
import time


@dataclasses.dataclass
class Cost:
    wall: float  # Seconds.
    cpu: float  # Seconds, user and system.
    peak_bytes: int  # Largest resident set.


def run(command, check=True, env=None):
    """Runs a command to its end, quietly."""
    began = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=env)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if check and process.returncode != 0:
        raise RuntimeError(f"{command}: exit {process.returncode}: {errors.decode()[-1000:]}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime,
                usage.ru_maxrss * 1024)


def process_cpu(pid):
    """CPU seconds of a running process so far: what its threads of now have used, to the ns."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue  # It has just ended.
    return total / 1e9


def process_memory(pid):
    """(resident now, largest so far), bytes."""
    values = {}
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(("VmRSS:", "VmHWM:")):
            values[line[:5]] = int(line.split()[1]) * 1024
    return values["VmRSS"], values["VmHWM"]


def context_switches(pid):
    """Of all threads of a running process so far."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                total += int(line.split()[1])
    return total


def interleaved(runs, contenders):
    """Runs each contender once a round, so that a noisy moment hits all alike.

    `contenders`: {name: function}. Returns {name: [results]}.
    """
    results = {name: [] for name in contenders}
    for _ in range(runs):
        for name, function in contenders.items():
            results[name].append(function())
    return results


def median(values, key=None):
    return statistics.median([key(value) for value in values] if key else values)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclasses.dataclass
class Row:
    figure: str
    measured: float
    unit: str
    against: str  # What it is compared with.
    limit: float
    target: float  # For the ratio measured / limit, or for the value where `limit` is 1.

    @property
    def ratio(self):
        return self.measured / self.limit if self.limit else float("inf")

    @property
    def met(self):
        return self.ratio <= self.target


class Report:
    """Collects rows and prints each as it comes."""

    HEADINGS = ("figure", "measured", "compared with", "ratio", "target", "")

    def __init__(self):
        self.rows = []
        self.failures = []

    def section(self, title):
        print(f"\n{title}\n" + self._line(*self.HEADINGS), flush=True)

    def relative(self, figure, measured, unit, against, limit, target):
        """measured / limit should be at most `target`."""
        self._add(Row(figure, measured, unit, f"{against} {show(limit, unit)}", limit, target))

    def absolute(self, figure, measured, unit, target):
        """measured should be at most `target`, in the same unit."""
        self._add(Row(figure, measured, unit, "", 1.0, target))

    def plain(self, figure, measured, unit):
        print(self._line(figure, show(measured, unit), "", "", "", ""), flush=True)

    def failed(self, figure, why):
        """A measurement that came to no end."""
        self.failures.append(figure)
        print(f"  {figure}: FAILED: {why}", flush=True)

    def _add(self, row):
        self.rows.append(row)
        relative = bool(row.against)
        target = f"{row.target:.2f}" if relative else show(row.target, row.unit)
        print(self._line(row.figure, show(row.measured, row.unit), row.against,
                         f"{row.ratio:.2f}" if relative else "", target,
                         "" if row.met else "MISSED"), flush=True)

    @staticmethod
    def _line(figure, measured, against, ratio, target, verdict):
        return f"  {figure:<44} {measured:>10}  {against:<28} {ratio:>6} {target:>10}  {verdict}"

    def summary(self):
        missed = [row.figure for row in self.rows if not row.met]
        print(f"\n{len(self.rows) - len(missed)} of {len(self.rows)} targets met"
              + (f"; missed: {'; '.join(missed)}" if missed else "")
              + (f"; failed: {'; '.join(self.failures)}" if self.failures else ""))


def show(value, unit):
    if unit == "bytes":
        return f"{value / 1e6:.1f} MB"
    if unit == "s" and value < 0.1:
        return f"{value * 1e3:.2f} ms"
    if unit == "us":
        return f"{value:.0f} us" if value >= 100 else f"{value:.1f} us"
    if not unit:
        return f"{value}"
    return f"{value:.2f} {unit}" if value == 0 or value >= 0.1 else f"{value:.3f} {unit}"
