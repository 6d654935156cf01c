#!/usr/bin/env python3
"""Each rule finds a planted violation, and leaves what is right alone."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check  # noqa: E402
import documents  # noqa: E402
import layers  # noqa: E402

HEADER = "#pragma once\n"
DECISION = ("# Title\nStatus: a\nProblem: b\nDecision: c\nInstead of: d\nPrice: e\nShown by: f\n")
LAYOUT_HEADER = HEADER + (
    "//   offset size\n//        0    4  magic\n//        4    8  value\nstruct Thing {};\n"
    "inline constexpr std::size_t kOne = 4;\n"
    "inline constexpr std::size_t kTwo =\n    kOne * 2 + 0x10'0U;  // three\n"
    "inline constexpr std::uint64_t kBit = 1ULL << 63;\n")


def formats(table):
    return {"docs/formats/x.md": table, "src/format/x.h": LAYOUT_HEADER}


def defects(rows):
    return {"docs/defects.md": "<!-- defects: D 2 -->\n| id | what | shown by |\n|---|---|---|\n"
                               + rows,
            "src/db/a_test.cc": "TEST_F(Suite, Name) {\n",
            "tests/a.py": "class PyTest(unittest.TestCase):\n    def test_a(self):\n"}


LAYOUT = "<!-- layout: src/format/x.h Thing -->\n\n| offset | size | what |\n|---|---|---|\n"
CONSTANTS = "<!-- constants: src/format/x.h -->\n| name | value |\n|---|---|\n"
LOCK = '{\n "packages": {\n  "": {},\n  "node_modules/a": {%s}\n }\n}\n'
UNFINISHED = "TO" + "DO"

# why, files, the violation's beginning
BAD = [
    ("a higher folder", {"src/format/a.cc": '#include "storage/b.h"\n'},
     "src/format/a.cc:1: layers: format/ may not include storage/b.h"),
    ("the same number", {"src/http/a.cc": '#include "sqlite/b.h"\n'}, "src/http/a.cc:1: layers:"),
    ("a test obeys too", {"src/format/a_test.cc": '\n#include "db/b.h"\n'},
     "src/format/a_test.cc:2: layers:"),
    ("a header too", {"src/base/a.h": HEADER + '#include "cli/b.h"\n'}, "src/base/a.h:2: layers:"),
    ("another backend", {"src/backend/s3/a.cc": '#include "backend/file/b.h"\n'},
     "src/backend/s3/a.cc:1: layers: backends do not know each other"),
    ("replica off sqlite", {"src/replica/a.cc": '#include "sqlite/b.h"\n'},
     "src/replica/a.cc:1: layers: replica/ may not include sqlite/b.h: "),
    ("extension off sqlite", {"src/vfs/a.cc": '#include "sqlite/b.h"\n'},
     "src/vfs/a.cc:1: layers: vfs/ may not include sqlite/b.h: "),
    ("no backend in replica", {"src/replica/a.cc": '#include "backend/file/b.h"\n'},
     "src/replica/a.cc:1: layers: replica/ may not include backend/file/b.h"),
    ("libsqlite3 elsewhere", {"src/db/a.cc": "#include <sqlite3.h>\n"}, "src/db/a.cc:1: layers:"),
    ("libsqlite3 in the extension", {"src/vfs/a.cc": "#include <sqlite3.h>\n"},
     "src/vfs/a.cc:1: layers:"),
    ("a relative include", {"src/base/a.cc": '#include "b.h"\n'}, "src/base/a.cc:1: layers:"),
    ("a folder in brackets", {"src/db/a.cc": "#include <base/env.h>\n"}, "src/db/a.cc:1: layers:"),
    ("an unknown folder", {"src/new/a.cc": ""}, "src/new/a.cc:1: layers: new: not a folder"),
    ("a file beside the folders", {"src/a.cc": ""}, "src/a.cc:1: layers:"),
    ("tests in the program", {"src/base/a.cc": '#include "tests/support/b.h"\n'},
     "src/base/a.cc:1: layers: only tests"),
    ("public header, ours", {"include/litestream/a.h": HEADER + '#include "base/b.h"\n'},
     "include/litestream/a.h:2: layers:"),
    ("public header, library", {"include/litestream/a.h": HEADER + "#include <fmt/core.h>\n"},
     "include/litestream/a.h:2: layers:"),
    ("public header, system", {"include/litestream/a.h": HEADER + "#include <unistd.h>\n"},
     "include/litestream/a.h:2: layers:"),
    ("heavy header", {"src/cli/a.h": HEADER + "#include <nlohmann/json.hpp>\n"},
     "src/cli/a.h:2: layers: nlohmann/json.hpp is slow"),
    ("heavy header", {"src/cli/a.h": HEADER + "#include <yaml-cpp/yaml.h>\n"},
     "src/cli/a.h:2: layers: yaml-cpp/yaml.h is slow"),
    ("long file", {"src/base/a.cc": "\n" * 801}, "src/base/a.cc:801: size: 801 lines"),
    ("long line", {"src/base/a.cc": "// " + "x" * 98 + "\n"}, "src/base/a.cc:1: size: 101 columns"),
    ("long line in a script", {"tools/a.py": "# " + "x" * 99 + "\n"}, "tools/a.py:1: size:"),
    ("big file", {"data.bin": "x" * 300_001}, "data.bin:1: size:"),
    ("unfinished", {"src/base/a.cc": f"// {UNFINISHED}: later\n"}, "src/base/a.cc:1: marker:"),
    ("unfinished in a document", {"README.md": f"\n{UNFINISHED}\n"}, "README.md:2: marker:"),
    ("no guard", {"src/base/a.h": "int x;\n"}, "src/base/a.h:1: header:"),
    ("open", {"src/db/a.cc": "int f = ::open(path, 0);\n"}, "src/db/a.cc:1: seam: ::open(:"),
    ("stream", {"src/db/a.cc": "std::ifstream in(path);\n"}, "src/db/a.cc:1: seam:"),
    ("filesystem", {"src/replica/a.cc": "std::filesystem::remove(p, code);\n"},
     "src/replica/a.cc:1: seam:"),
    ("time", {"src/db/a.cc": "auto t = std::chrono::system_clock::now();\n"},
     "src/db/a.cc:1: seam: system_clock::now: time goes through Clock"),
    ("time", {"src/storage/a.h": HEADER + "auto t = std::chrono::steady_clock::now();\n"},
     "src/storage/a.h:2: seam:"),
    ("mutex", {"src/db/a.h": HEADER + "std::mutex mu_;\n"}, "src/db/a.h:2: seam: std::mutex:"),
    ("thread", {"src/db/a.h": HEADER + "std::thread t_;\n"}, "src/db/a.h:2: seam: std::thread:"),
    ("randomness", {"src/db/a.cc": "std::random_device d;\n"}, "src/db/a.cc:1: seam:"),
    ("sleep, in base too", {"src/base/a.cc": "std::this_thread::sleep_for(1s);\n"},
     "src/base/a.cc:1: seam: sleep_for:"),
    ("sleep in a test", {"src/db/a_test.cc": "  usleep(5);\n"}, "src/db/a_test.cc:1: seam:"),
    ("exception", {"src/db/a.cc": "if (x) throw 1;\n"}, "src/db/a.cc:1: seam: throw:"),
    ("too new", {"src/db/a.cc": "#include <expected>\n"}, "src/db/a.cc:1: seam: <expected>:"),
    ("stale waiver", {"src/cli/signals.cc": "int x;\n"}, "src/cli/signals.cc:1: seam: nothing"),
    ("machine path", {"docs/a.md": "see /wo" + "rk/x\n"}, "docs/a.md:1: machine: a path"),
    ("registry", {"tools/a.sh": "npm --registry https://registry." + "npmjs.org\n"},
     "tools/a.sh:1: machine: a registry"),
    ("address in lock file",
     {"package-lock.json": LOCK % ('\n"resol' + 'ved": "x", "integrity": "sha512-x"')},
     "package-lock.json:5: lock:"),
    ("no hash in lock file", {"package-lock.json": LOCK % '"version": "1"'},
     "package-lock.json:1: lock: node_modules/a"),
    ("broken link", {"docs/a.md": "[x](b.md)\n"}, "docs/a.md:1: link: b.md"),
    ("broken link up", {"docs/a.md": "\n[x](../src/x.h#y)\n"}, "docs/a.md:2: link:"),
    ("decision, a part missing", {"docs/decisions/0001-a.md": DECISION.replace("Price", "Cost")},
     "docs/decisions/0001-a.md:1: decision: Price: is missing"),
    ("decision, name", {"docs/decisions/a.md": DECISION}, "docs/decisions/a.md:1: decision: named"),
    ("layout, wrong size", formats(LAYOUT + "| 0 | 4 | a |\n| 4 | 7 | b |\n"),
     "docs/formats/x.md:6: formats: offset 4, size 7"),
    ("layout, field missing", formats(LAYOUT + "| 0 | 4 | a |\n"),
     "docs/formats/x.md:1: formats: Thing in src/format/x.h has a field at offset 4"),
    ("layout, no such struct", formats(LAYOUT.replace("Thing", "Other") + "| 0 | 4 | a |\n"),
     "docs/formats/x.md:1: formats:"),
    ("constant, wrong value", formats(CONSTANTS + "| `kTwo` | 265 |\n"),
     "docs/formats/x.md:4: formats: kTwo is 264"),
    ("constant, unknown", formats(CONSTANTS + "| `kThree` | 1 |\n"),
     "docs/formats/x.md:4: formats: kThree is not a constant"),
    ("constant, no header", {"docs/formats/x.md": CONSTANTS + "| `kOne` | 4 |\n"},
     "docs/formats/x.md:1: formats: src/format/x.h is not there"),
    ("constant, no table", formats(CONSTANTS.split("\n", maxsplit=1)[0] + "\nwords\n"),
     "docs/formats/x.md:1: formats: no table"),
    ("defect, no such test", defects("| D1 | a | `Suite.Other` |\n| D2 | b | belongs to x |\n"),
     "docs/defects.md:4: defects: Suite.Other is not a test"),
    ("defect, no test", defects("| D1 | a | |\n| D2 | b | `Suite.Name` |\n"),
     "docs/defects.md:4: defects: names no test"),
    ("defect, no such script", defects("| D1 | a | `tests/b.py` |\n| D2 | b | `tests/a.py` |\n"),
     "docs/defects.md:4: defects: tests/b.py is not a test"),
    ("defect, row missing", defects("| D1 | a | `Suite.Name` |\n"),
     "docs/defects.md:1: defects: D2 is missing"),
    ("layer table, wrong number", {"docs/architecture.md": "    src/db/  3  x\n"},
     "docs/architecture.md:1: layers: db is 5"),
    ("layer table, folder missing", {"docs/architecture.md": "    src/db/  4  x\n"},
     "docs/architecture.md:1: layers: src/base/ is not shown"),
]

GOOD = [
    ("includes downwards", {"src/db/a.cc": '#include "replica/b.h"\n#include "litestream/c.h"\n'
                                           "#include <vector>\n#include <unistd.h>\n"}),
    ("own folder", {"src/backend/s3/a.cc": '#include "backend/s3/b.h"\n'}),
    ("a test's client", {"src/replica/a_test.cc": '#include "backend/file/b.h"\n'
                                                  '#include "tests/support/c.h"\n'}),
    ("where SQLite is called", {"src/sqlite/a.cc": "#include <sqlite3.h>\n"}),
    ("heavy header in .cc", {"src/cli/a.cc": "#include <nlohmann/json.hpp>\n"}),
    ("public header", {"include/litestream/a.h": HEADER + '#include <chrono>\n'
                                                          '#include "litestream/b.h"\n'}),
    ("long test", {"src/base/a_test.cc": "\n" * 2000}),
    ("base has the calls", {"src/base/a.cc": "::open(p, 0); std::mutex m; system_clock::now();\n"}),
    ("a test may read files", {"src/db/a_test.cc": "std::ifstream in(path);\n"}),
    ("in a comment", {"src/db/a.cc": "// std::mutex and sleep_for\n/* ::open(\n throw */\n"}),
    ("in a string", {"src/db/a.cc": 'Log("::open( throw sleep_for \\" std::mutex");\n'
                                    'auto t = R"(std::thread "x)";\n'}),
    ("methods of the same name", {"src/db/a.cc": "env.open(p); file->read(b); Env::open(p);\n"
                                                 "std::this_thread::get_id(); rethrow();\n"}),
    ("a digit separator is no string", {"src/db/a.cc": "int x = 1'000; char c = '\"';\n"}),
    ("100 columns", {"src/base/a.cc": "// " + "ä" * 97 + "\n"}),
    ("waived", {"src/cli/signals.cc": "::read(pipe, b, 1);\n"}),
    ("lock file", {"package-lock.json": LOCK % '"integrity": "sha512-x"'}),
    ("links", {"docs/a.md": "[x](b/) [y](../README.md#z) [z](https://example.org)\n",
               "docs/b/c.md": "x\n", "README.md": "x\n"}),
    ("decision", {"docs/decisions/0001-a-b.md": DECISION}),
    ("layout", formats(LAYOUT + "| 0 | 4 | a |\n| 4 | 8 | b |\n\nwords\n")),
    ("constants", formats(CONSTANTS + "| `kOne` | 4 |\n| `kTwo` | 264 |\n"
                          "| `kBit` | 0x8000000000000000 |\n")),
    ("layer table", {"docs/architecture.md": "".join(
        f"    src/{folder}/  {rank}  x\n" for folder, rank in layers.RANK.items())}),
    ("defects", defects("| D1 | a | `Suite.Name` `PyTest.test_a`; the rest belongs to x |\n"
                        "| D2 | b | belongs to y |\n| D2b | c | `tests/a.py` |\n")),
    ("build folders", {"build/a.cc": "throw;\n", "node_modules/x/a.h": "x\n"}),
]


class SelfTest(unittest.TestCase):
    def found(self, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                full = pathlib.Path(root) / path
                full.parent.mkdir(parents=True, exist_ok=True)
                full.write_text(text, encoding="utf-8")
            return list(check.violations(root))

    def test_finds_what_is_planted(self):
        for why, files, expected in BAD:
            with self.subTest(why, files=list(files)):
                found = self.found(files)
                self.assertTrue(any(line.startswith(expected) for line in found),
                                f"{expected!r} is not in {found}")

    def test_leaves_what_is_right(self):
        for why, files in GOOD:
            with self.subTest(why):
                self.assertEqual(self.found(files), [])

    def test_every_rule_is_planted(self):
        planted = {expected.split(": ")[1].rstrip(":") for _, _, expected in BAD}
        self.assertEqual(planted, {"layers", "size", "marker", "header", "seam", "machine", "lock",
                                   "link", "decision", "formats", "defects"})

    def test_evaluates_constants(self):
        for text, value in (("1ULL << 63", 1 << 63), ("0x377f0682", 0x377f0682),
                            ("(2 + 3) * 4", 20), ("1'000u", 1000), ("f(3)", None),
                            ('"PRF1"', "PRF1")):
            with self.subTest(text):
                self.assertEqual(documents.evaluate(text, {}), value)


if __name__ == "__main__":
    unittest.main()
