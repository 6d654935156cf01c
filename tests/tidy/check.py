#!/usr/bin/env python3
"""Checks the rules about the tree: layers, seams, sizes, words, documents.

Usage: check.py ROOT
Prints "path:line: rule: what is wrong" for each violation; exits 1 if there is one.
"""
import sys

import defects
import documents
import layers
import text
import tree


def violations(root):
    files = tree.list_files(root)
    for rules in (layers, text, documents, defects):
        for file, line, rule, message in rules.check(files):
            yield f"{file.path}:{line}: {rule}: {message}"


def main():
    found = list(violations(sys.argv[1]))
    for violation in found:
        print(violation)
    print(f"{len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
