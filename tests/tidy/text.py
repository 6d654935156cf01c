"""Rules about the text of files: sizes, words that must not be there, calls that bypass a seam."""
import json
import re

MAX_LINES = 800
MAX_COLUMNS = 100
MAX_BYTES = 300_000
CHECKED_WIDTH = (".h", ".cc", ".py", ".sh", ".cmake", "CMakeLists.txt")

# Put together here so that this file does not trip over itself.
MARKERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"])
                     + r")\b|not " + r"implemented|" + "un" + r"implemented")
MACHINE = re.compile(r"(?<![\w.$}-])/(" + "|".join(["work", "farm", "root"]) + r")/|"
                     + r"bash_" + r"jobs|\.lib" + r"rary/|mirror\+")
HOSTS = re.compile("|".join([
    r"registry\." + r"npmjs\.org", r"registry\." + r"yarnpkg", r"deb\." + r"debian\.org",
    r"pypi\." + r"org", r"files\." + r"pythonhosted", r"static\." + r"crates\.io",
    r"proxy\." + r"golang\.org", r"repo1?\." + r"maven", r"node" + r"source"]))

# Outside base/ these go through Env, Clock, Scheduler, Mutex (docs/decisions/0003-seams.md).
SEAMS = [
    (re.compile(r"(?<![\w:>.])::(open|openat|creat|pread|pwrite|read|write|fsync|fdatasync|rename|"
                r"renameat2?|unlink|rmdir|mkdir|stat|lstat|fstat|truncate|ftruncate|flock|mmap|"
                r"inotify_init1?|opendir)\s*\("), "files go through Env"),
    (re.compile(r"\bf(open|dopen)\s*\(|\bstd::(basic_)?[io]?f(stream|ilebuf)\b"),
     "files go through Env"),
    (re.compile(r"\b(std::filesystem|fs)::(exists|status|symlink_status|remove|remove_all|rename|"
                r"create_director(y|ies)|file_size|resize_file|last_write_time|copy|copy_file|"
                r"is_(regular_file|directory|symlink|empty)|(recursive_)?directory_iterator|"
                r"space|permissions|temp_directory_path)\b"), "files go through Env"),
    (re.compile(r"\b(system_clock|steady_clock|high_resolution_clock)::now\b|"
                r"\b(gettimeofday|clock_gettime|std::time)\s*\("), "time goes through Clock"),
    (re.compile(r"\bstd::(mutex|recursive_mutex|shared_mutex|timed_mutex|condition_variable\w*|"
                r"lock_guard|unique_lock|scoped_lock|shared_lock)\b"),
     "locks are Mutex, MutexLock and CondVar of base/sync.h"),
    (re.compile(r"\bstd::(thread|async)\b(?!::)|\bpthread_create\b"),
     "threads are std::jthread members; work runs on the Scheduler"),
    (re.compile(r"\b(std::random_device|getrandom|getentropy)\b|\b(rand|random)\s*\(\s*\)"),
     "randomness goes through Env"),
]
NEVER = [
    (re.compile(r"\bsleep_(for|until)\b|(?<![\w.>])(?:::)?(?:u?sleep|nanosleep)\s*\("),
     "waits are interruptible: Context::Wait, Clock::Wait or CondVar"),
    (re.compile(r"\bthrow\b"), "errors are Result, not exceptions"),
    (re.compile(r"\bstd::(expected|format|print|println)\b|<(expected|format|print|"
                r"source_location)>|\bstd::views::|\bstd::ranges::views::"),
     "clang 14 does not have it"),
]
# What has to be done anyway, and why.
WAIVED = [
    ("src/cli/signals.cc", re.compile(r"::(read|write)\b"), "a pipe that wakes, not a file"),
    ("src/cli/exec.cc", re.compile(r"::(read|write)\b"), "a pipe to the child, not a file"),
    ("src/cli/core_dump.cc", re.compile(r"::(open|read|write)\b"),
     "a setting of the kernel, also between fork and exec"),
    ("src/cli/inherited_files.cc", re.compile(r"::opendir\b"), "our own descriptors, no files"),
    ("src/config/yaml.cc", re.compile(r"throw BuildError"),
     "the only way out of yaml-cpp's event handler; caught in the same file"),
]


def check(files):
    for file in files:
        yield from _text(file)
        if file.is_cxx:
            yield from _cxx(file)
    yield from _waivers(files)
    yield from _lock_file(files)


def _waivers(files):
    for path, waived, reason in WAIVED:
        for file in files:
            if file.path == path and not any(waived.search(line) for line in file.code_lines()):
                yield file, 1, "seam", f"nothing here needs the waiver any more: {reason}"


def _text(file):
    if file.size > MAX_BYTES:
        yield file, 1, "size", f"{file.size} bytes; generated and third-party files stay out"
        return
    if file.name == "LICENSE":
        return
    numbered = list(enumerate(file.lines, 1))
    if file.is_cxx and not file.is_test and len(numbered) > MAX_LINES:
        yield file, MAX_LINES + 1, "size", f"{len(numbered)} lines; {MAX_LINES} is the limit"
    for line, text in numbered:
        if file.path.endswith(CHECKED_WIDTH) and len(text) > MAX_COLUMNS:
            yield file, line, "size", f"{len(text)} columns; {MAX_COLUMNS} is the limit"
        if MARKERS.search(text):
            yield file, line, "marker", "unfinished work goes into an issue"
        if MACHINE.search(text):
            yield file, line, "machine", "a path of somebody's machine"
        if HOSTS.search(text):
            yield file, line, "machine", "a registry's host"


def _cxx(file):
    if file.is_header and "#pragma once" not in file.text:
        yield file, 1, "header", "#pragma once is missing"
    if file.parts[0] not in ("src", "include"):
        return
    seams = file.parts[0] == "src" and file.parts[1] != "base" and not file.is_test
    rules = NEVER + (SEAMS if seams else [])
    for line, text in enumerate(file.code_lines(), 1):
        for pattern, message in rules:
            found = pattern.search(text)
            if found and not any(file.path == path and waived.search(text)
                                 for path, waived, _ in WAIVED):
                yield file, line, "seam", f"{found.group(0).strip()}: {message}"


def _lock_file(files):
    for file in files:
        if file.path != "package-lock.json":
            continue
        for line, text in enumerate(file.lines, 1):
            if '"resol' + 'ved"' in text:
                yield file, line, "lock", "no addresses: the user's registry is used"
        for name, entry in json.loads(file.text)["packages"].items():
            if name and not entry.get("integrity", "").startswith("sha512-"):
                yield file, 1, "lock", f"{name} is not pinned by an integrity hash"
