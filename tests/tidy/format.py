#!/usr/bin/env python3
"""Every C++ file is as clang-format would leave it.

Usage: format.py CLANG_FORMAT ROOT
"""
import subprocess
import sys

import tree


def main():
    clang_format, root = sys.argv[1:]
    paths = [str(file.full) for file in tree.list_files(root) if file.is_cxx]
    print(f"{len(paths)} files")
    return subprocess.run([clang_format, "--dry-run", "--Werror", *paths], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
