#!/usr/bin/env python3
"""Measures the whole program and compares with what the machine allows.

Every figure is a median of interleaved runs. It is compared with a limit measured beside it (cp and
fsync, lz4, the application alone), with an absolute target, or with what the Go implementation of
Litestream v0.5.16 was measured at on 2 cores of an AMD EPYC. --binary may be any program with the
same command line.

Examples:
  bench/run.py --binary build/release/litestream --writer build/release/litestream-writer
  ... --only restore --mib 1024,4096 --runs 5
"""
import argparse
import pathlib
import sys

import bulk
import fleet
import live
import measure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import lab  # noqa: E402

SECTIONS = ("start", "idle", "lag", "capture", "latency", "first-sync", "restore", "fleet")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer", required=True)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, comma-separated")
    parser.add_argument("--mib", default="256", help="database sizes, comma-separated")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each live measurement")
    parser.add_argument("--commits", type=int, default=10, help="lone commits for the lag")
    parser.add_argument("--quiet", type=float, default=1.5, help="seconds between lone commits")
    fleet.add_arguments(parser, "100,1000")
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    options = parser.parse_args()
    options.mib = [int(size) for size in options.mib.split(",")]
    options.databases = [int(count) for count in options.databases.split(",")]
    wanted = options.only.split(",")
    unknown = set(wanted) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {SECTIONS}")
    report = measure.Report()
    with lab.Lab("bench", parent=options.folder) as box:
        large, small = bulk.Bulk(options, report, box), live.Live(options, report, box)
        many = fleet.Fleet(options, report, box)
        actions = {"start": small.start, "idle": small.idle, "lag": small.lag,
                   "capture": small.capture, "latency": small.latency,
                   "first-sync": large.first_sync, "restore": large.restore,
                   "fleet": many.measure}
        try:
            for section in SECTIONS:
                if section in wanted:
                    actions[section]()
        except (lab.LabError, RuntimeError) as error:
            print(f"\nFAILED: {error}")
            return 1
    report.summary()
    return 0 if not report.failures else 1


if __name__ == "__main__":
    sys.exit(main())
