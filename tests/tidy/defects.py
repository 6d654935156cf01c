"""docs/defects.md: every test that it names exists, and no defect is missing."""
import re

DOCUMENT = "docs/defects.md"
MARK = re.compile(r"<!--\s*defects:\s*([A-Z])\s+(\d+)\s*-->")
NAMED = re.compile(r"`([^`]+)`")
CXX_TEST = re.compile(r"\bTEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)")
PYTHON_CLASS = re.compile(r"(?m)^class (\w+)|^    def (test_\w+)")


def check(files):
    by_path = {file.path: file for file in files}
    document = by_path.get(DOCUMENT)
    if document is not None:
        tests = _tests(files)
        yield from _names(document, by_path, tests)
        yield from _rows(document)


def _tests(files):
    """Suite.Name of every test in the tree."""
    tests = set()
    for file in files:
        if not file.is_test:
            continue
        if file.path.endswith(".cc"):
            tests.update(".".join(pair) for pair in CXX_TEST.findall(file.text))
        elif file.path.endswith(".py"):
            suite = ""
            for found, name in PYTHON_CLASS.findall(file.text):
                suite = found or suite
                if name:
                    tests.add(f"{suite}.{name}")
    return tests


def _names(document, by_path, tests):
    for line, text in enumerate(document.lines, 1):
        cells = text.strip().strip("|").split("|")
        if not text.startswith("|") or cells[-1].strip() in ("shown by", "---"):
            continue
        named = NAMED.findall(cells[-1])
        if not named and "belongs to" not in cells[-1]:
            yield document, line, "defects", "names no test"
        for name in named:
            if name not in tests and name not in by_path:
                yield document, line, "defects", f"{name} is not a test"


def _rows(document):
    """A mark `defects: D 21` says that the rows D1 to D21 follow."""
    listed = {cells[1].strip() for cells in (text.split("|") for text in document.lines)
              if len(cells) > 2}
    for line, text in enumerate(document.lines, 1):
        mark = MARK.search(text)
        for number in range(1, int(mark[2]) + 1 if mark else 0):
            if f"{mark[1]}{number}" not in listed:
                yield document, line, "defects", f"{mark[1]}{number} is missing"
