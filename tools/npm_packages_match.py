#!/usr/bin/env python3
"""Exits 0 if the npm packages that are installed are those of the lock file.

Usage: npm_packages_match.py package-lock.json node_modules/.package-lock.json
"""
import json
import sys


def packages(path):
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)["packages"]
    return {name: entry.get("integrity") for name, entry in entries.items() if name}


def main():
    try:
        return 0 if packages(sys.argv[1]) == packages(sys.argv[2]) else 1
    except FileNotFoundError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
