"""The files that the rules look at, and what they need to know about C++ text."""
import pathlib
import re
import subprocess

# Never part of the tree, whatever git says.
SKIPPED = {".git", "build", "node_modules", "__pycache__"}

TEXT_TOKEN = re.compile(
    r'''(?P<line>//[^\n]*)|(?P<block>/\*.*?\*/)'''
    r'''|(?P<raw>R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)")'''
    r'''|(?P<string>"(?:\\.|[^"\\\n])*")|(?P<char>(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+')''',
    re.DOTALL)


class File:
    """One text file. `path` is relative to the root, with forward slashes."""

    def __init__(self, root, path):
        self.path = path
        self.full = pathlib.Path(root) / path
        self._text = None

    @property
    def size(self):
        return self.full.stat().st_size

    @property
    def text(self):
        if self._text is None:
            self._text = self.full.read_bytes().decode("utf-8", "replace")
        return self._text

    @property
    def lines(self):
        return self.text.splitlines()

    @property
    def parts(self):
        return self.path.split("/")

    @property
    def name(self):
        return self.parts[-1]

    @property
    def is_cxx(self):
        return self.path.endswith((".h", ".cc"))

    @property
    def is_header(self):
        return self.path.endswith(".h")

    @property
    def is_test(self):
        return self.name.endswith("_test.cc") or self.parts[0] in ("tests", "fuzz", "bench")

    def code_lines(self):
        """The lines of C++ with comments and the contents of strings blanked out."""
        def blank(match):
            kept = re.sub(r"[^\n]", " ", match.group(0))
            if match.group("string") or match.group("raw"):
                return '"' + kept[1:-1] + '"'
            return kept
        # Includes are not strings.
        guarded = re.sub(r'(?m)^(\s*#\s*include\s*)"([^"\n]*)"', r"\1<\2>", self.text)
        return TEXT_TOKEN.sub(blank, guarded).splitlines()

    def includes(self):
        """(line number, "quoted" or "angled", path)"""
        for number, line in enumerate(self.lines, 1):
            match = re.match(r'\s*#\s*include\s*(?:"([^"]*)"|<([^>]*)>)', line)
            if match:
                yield number, "quoted" if match[1] is not None else "angled", match[1] or match[2]


def list_files(root):
    """What git tracks or would track; every file if `root` is no git work tree."""
    root = pathlib.Path(root)
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=False)
    if listed.returncode == 0 and (root / ".git").exists():
        paths = [path for path in listed.stdout.decode().split("\0") if path]
    else:
        paths = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    return [File(root, path) for path in sorted(set(paths))
            if not SKIPPED & set(path.split("/")) and (root / path).is_file()]
