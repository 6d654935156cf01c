"""Who may include whom: the table of docs/architecture.md."""
import re

# A file may include its own folder and folders with a lower number.
RANK = {
    "base": 0,
    "format": 1,
    "storage": 2, "http": 2, "sqlite": 2,
    "cloud": 3,
    "backend": 4, "replica": 4,
    "db": 5, "vfs": 5,
    "config": 6, "server": 6,
    "cli": 7, "capi": 7,
}
# The extension runs inside a host that brings its own SQLite; replica/ is linked into it.
FORBIDDEN = {
    ("replica", "sqlite"): "replica/ is part of the extension, which uses its host's SQLite",
    ("vfs", "sqlite"): "the extension reaches SQLite only through its host's function table",
}
# What tests of a folder may use besides: a real client to run against.
TEST_EDGES = {("replica", "backend")}
# Where SQLite's own headers may be included: what calls libsqlite3, and tests.
SQLITE_FOLDERS = {"sqlite": "sqlite3.h", "vfs": "sqlite3ext.h"}
# Headers that take seconds to compile: in .cc files only.
HEAVY = re.compile(r"^(nlohmann/|yaml-cpp/|spdlog/|httplib\.h|fmt/(?!core\.h)|prometheus/|pugixml)")
STANDARD = re.compile(r"^[a-z_0-9]+$")
C_API_HEADERS = {"stddef.h", "stdint.h", "stdbool.h"}


def check(files):
    for file in files:
        if file.is_cxx and file.parts[0] == "src":
            yield from _source(file)
        elif file.is_cxx and file.parts[0] == "include":
            yield from _public(file)


def _public(file):
    for line, kind, path in file.includes():
        own = kind == "quoted" and path.startswith("litestream/")
        standard = kind == "angled" and (STANDARD.match(path) or path in C_API_HEADERS)
        if not own and not standard:
            yield file, line, "layers", f"include/litestream/ may not include {path}"


def _source(file):
    folder = file.parts[1] if len(file.parts) > 2 else ""
    if folder not in RANK:
        yield file, 1, "layers", f"{folder or 'src'}: not a folder of the table"
        return
    test = file.name.endswith("_test.cc")
    for line, kind, path in file.includes():
        message = (_quoted(file, folder, test, path) if kind == "quoted"
                   else _angled(file, folder, test, path))
        if message:
            yield file, line, "layers", message


def _quoted(file, folder, test, path):
    target = path.split("/")[0] if "/" in path else ""
    if target == "litestream":
        return None
    if target == "tests":
        return None if test else "only tests may include tests/"
    if target not in RANK:
        return f'"{path}": not a folder of the table (system headers go in <>)'
    if (folder, target) in FORBIDDEN:
        return f"{folder}/ may not include {path}: {FORBIDDEN[folder, target]}"
    if target == folder:
        if folder == "backend" and path.split("/")[1] != file.parts[2]:
            return f"backends do not know each other: {path}"
        return None
    if RANK[target] < RANK[folder] or (test and (folder, target) in TEST_EDGES):
        return None
    return f"{folder}/ may not include {path}"


def _angled(file, folder, test, path):
    if path.split("/")[0] in RANK and "/" in path:
        return f'<{path}>: our own headers go in ""'
    if path in ("sqlite3.h", "sqlite3ext.h") and not test and SQLITE_FOLDERS.get(folder) != path:
        return f"{folder}/ may not include {path}"
    if file.is_header and HEAVY.match(path):
        return f"{path} is slow to compile: in .cc files only"
    return None
