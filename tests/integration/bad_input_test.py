#!/usr/bin/env python3
"""Damaged files, full disks, missing rights, somebody else's replica: a clear error, nothing lost,
never a database that is silently wrong."""
import argparse
import json
import os
import pathlib
import random
import shutil
import sys
import unittest
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import lab  # noqa: E402

FLIPS = 120


class BadInputTest(unittest.TestCase):
    binary = None
    writer_binary = None

    def setUp(self):
        self.box = self.enterContext(lab.Lab("bad-input"))
        self.tool = lab.Litestream(self.box, self.binary)

    def writer(self, name):
        return lab.Writer(self.box, self.writer_binary, self.box.path(name),
                          self.box.path(name + ".journal"))

    def once(self, database, replica, **options):
        return self.box.run([self.tool.binary, "replicate", "-once", database, lab.url(replica)],
                            **options)

    def replicated(self, name, phases=3):
        """A database with a replica of some TXIDs."""
        writer, replica = self.writer(name), self.box.path(name + ".replica")
        for _ in range(phases):
            writer.run(count=5, page_size=512)
            done = self.once(writer.database, replica)
            self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return writer, replica

    def assert_says(self, done, *words):
        self.assertNotEqual(done.returncode, 0)
        for word in words:
            self.assertIn(str(word), done.stderr)

    # --- damaged replicas ---

    def test_a_flipped_bit_anywhere(self):
        writer, replica = self.replicated("db")
        good = self.box.path("good")
        self.tool.must_restore(replica, good)
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}")
        chance = random.Random(seed)
        files = sorted((replica / "ltx").rglob("*.ltx"))
        out = self.box.path("out")
        for _ in range(FLIPS):
            file = chance.choice(files)
            offset, bit = chance.randrange(file.stat().st_size), 1 << chance.randrange(8)
            with self.subTest(seed=seed, file=file.name, offset=offset, bit=bit):
                self.flip(file, offset, bit)
                done = self.tool.restore(replica, out)
                if done.returncode == 0:
                    # Bytes that do not matter to this restore (an old version of a page).
                    self.assertIsNone(lab.first_difference(good, out, 512))
                    out.unlink()
                else:
                    self.assertFalse(out.exists())
                    self.assertIn("Error: ", done.stderr)
                if self.tool.verify(replica).returncode == 0:
                    # Another way to compress the same page; the file's checksum is over the page.
                    txid = int(file.name[17:33], 16)
                    damaged, whole = self.box.path("damaged"), self.box.path("whole")
                    self.tool.must_restore(replica, damaged, txid=txid)
                    self.flip(file, offset, bit)
                    self.tool.must_restore(replica, whole, txid=txid)
                    self.flip(file, offset, bit)
                    self.assertIsNone(lab.first_difference(whole, damaged, 512))
                    damaged.unlink()
                    whole.unlink()
                self.flip(file, offset, bit)
        self.assertEqual(self.tool.verify(replica).returncode, 0)

    @staticmethod
    def flip(file, offset, bit):
        with open(file, "r+b") as stream:
            stream.seek(offset)
            byte = stream.read(1)[0]
            stream.seek(offset)
            stream.write(bytes([byte ^ bit]))

    def test_a_file_cut_short_is_named(self):
        _, replica = self.replicated("db")
        file = sorted((replica / "ltx/0").iterdir())[-1]
        os.truncate(file, file.stat().st_size - 1)
        done = self.tool.restore(replica, self.box.path("out"))
        self.assert_says(done, file.name)
        self.assertFalse(self.box.path("out").exists())

    def test_a_file_in_the_middle_is_gone(self):
        _, replica = self.replicated("db", phases=4)
        (replica / "ltx/0" / f"{3:016x}-{3:016x}.ltx").unlink()
        done = self.tool.restore(replica, self.box.path("out"))
        self.assert_says(done, f"{4:016x}")
        self.assertNotEqual(self.tool.verify(replica).returncode, 0)

    def test_nothing_there(self):
        for replica in ("missing", "empty"):
            with self.subTest(replica):
                if replica == "empty":
                    self.box.path(replica).mkdir()
                done = self.tool.restore(self.box.path(replica), self.box.path("out"))
                self.assert_says(done, "no matching backup files available")

    def test_existing_output_is_kept(self):
        _, replica = self.replicated("db")
        out = self.box.path("out")
        out.write_text("precious")
        self.assert_says(self.tool.restore(replica, out), out)
        self.assertEqual(out.read_text(), "precious")
        forced = self.box.run([self.tool.binary, "restore", "-force", "-o", out,
                               lab.url(self.box.path("missing"))])
        self.assertNotEqual(forced.returncode, 0)
        self.assertEqual(out.read_text(), "precious")

    # --- somebody else's replica ---

    def test_replica_of_another_database(self):
        first, replica = self.replicated("first")
        second = self.writer("second")
        second.run(count=40, page_size=512, seed=99)
        before = lab.restorable_txids(lab.replica_files(replica))
        done = self.once(second.database, replica)
        self.assertEqual(done.returncode, 0)
        # It goes on above, and says so: what the first one stored is still there.
        self.assertIn("holds another history", done.stdout)
        self.assertIn(str(replica), done.stdout)
        for txid in before:
            copy = self.box.path(f"copy{txid}")
            self.tool.must_restore(replica, copy, txid=txid)
            first.check(copy)
        newest = self.box.path("newest")
        self.tool.must_restore(replica, newest)
        owner = second if lab.newest_txid(lab.replica_files(replica)) > before[-1] else first
        owner.check(newest)
        self.assertEqual(self.tool.verify(replica).returncode, 0)

    def test_a_restored_database_goes_on_without_a_warning(self):
        writer, replica = self.replicated("db")
        for suffix in ("", "-wal", "-shm"):
            pathlib.Path(f"{writer.database}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(self.box.path(".db-litestream"))
        self.tool.must_restore(replica, writer.database)
        done = self.once(writer.database, replica)
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("holds another history", done.stdout)

    # --- names ---

    NAMES = ("a b", "q?x", "h#x", "p%41x", "100%", "\u00fcn\u00ef", "new\nline", "'\"", "a&b=c",
             "a:b", "-dash", "back\\slash", " lead", "n" * 230)

    def test_any_name_is_just_a_name(self):
        for name in self.NAMES:
            with self.subTest(name):
                folder = self.box.path("names") / name
                folder.mkdir(parents=True)
                writer = lab.Writer(self.box, self.writer_binary, folder / name,
                                    self.box.path("journal"))
                writer.journal.unlink(missing_ok=True)
                writer.run(count=3, page_size=512)
                replica = folder / f"r{name}"[:250]
                encoded = "file://" + urllib.parse.quote(str(replica))
                control = any(c < " " for c in name)
                for place in [str(replica)] + ([] if control else [encoded]):
                    done = self.box.run([self.tool.binary, "replicate", "-once", writer.database,
                                         place])
                    self.assertEqual(done.returncode, 0, done.stderr)
                out = folder / "out"
                done = self.box.run([self.tool.binary, "restore", "-json", "-integrity-check",
                                     "full", "-o", out, encoded])
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(json.loads(done.stdout)["db_path"], str(out))
                self.assertEqual(writer.check(out), 3)
                known = {name, name + "-wal", name + "-shm", f".{name}-litestream", replica.name,
                         "out"}
                self.assertEqual({entry.name for entry in folder.iterdir()} - known, set())
                shutil.rmtree(folder)

    def test_names_that_are_too_long(self):
        writer, replica = self.replicated("db")
        done = self.tool.restore(replica, self.box.path("o" * 255))
        self.assert_says(done, "File name too long")
        done = self.once(writer.database, self.box.path("r" * 256))
        self.assert_says(done, "File name too long", "replica file")

    # --- no database ---

    def test_no_database(self):
        random_bytes = random.Random(1).randbytes(8192)
        for name, content, says in (
                ("text", b"notes\n", "file is not a database"),
                ("noise", random_bytes, "file is not a database"),
                ("page size 3", b"SQLite format 3\0\0\3" + bytes(8174), "file is not a database"),
                ("empty", b"", "waiting for data"),
                ("missing", None, "waiting for data")):
            with self.subTest(name):
                path, replica = self.box.path(name), self.box.path(f"replica of {name}")
                if content is not None:
                    path.write_bytes(content)
                done = self.once(path, replica)
                self.assert_says(done, path, says)
                self.assertNotIn("EXCLUSIVE", done.stderr)
                self.assertFalse(replica.exists())
                if content is not None:
                    self.assertEqual(path.read_bytes(), content)
        self.box.path("folder").mkdir()
        self.assert_says(self.once(self.box.path("folder"), self.box.path("r")),
                         self.box.path("folder"), "not a regular file")

    # --- a torn log ---

    def test_a_torn_wal(self):
        """The log ends anywhere: what SQLite recovers is what is captured."""
        writer = self.writer("db")
        writer.run(count=6, page_size=512, keep_wal=True, autocheckpoint=0)
        log = pathlib.Path(f"{writer.database}-wal").read_bytes()
        seed = random.SystemRandom().randrange(1 << 32)
        chance = random.Random(seed)
        for _ in range(25):
            cut = chance.randrange(len(log) + 1)
            with self.subTest(seed=seed, cut=cut):
                folder = self.box.path("torn")
                folder.mkdir()
                shutil.copyfile(writer.database, folder / "db")
                torn = bytearray(log[:cut])
                if torn and chance.random() < 0.5:
                    torn[chance.randrange(len(torn))] ^= 1 << chance.randrange(8)
                (folder / "db-wal").write_bytes(torn)
                done = self.once(folder / "db", folder / "replica")
                if done.returncode == 0:
                    self.tool.must_restore(folder / "replica", folder / "out")
                    copy = lab.checkpointed_copy(self.box, folder / "db", "torn/copy")
                    self.assertIsNone(lab.first_difference(copy, folder / "out", 512))
                else:  # Nothing was committed: the file is as it was made, empty.
                    self.assert_says(done, folder / "db")
                shutil.rmtree(folder)

    # --- watched directories ---

    def test_directories_that_cannot_be_watched(self):
        root = self.box.path("root")
        (root / "sub" / "deep").mkdir(parents=True)
        (root / "file").touch()
        config = self.box.path("litestream.yml")
        line = ("  - {{dir: {}, pattern: '{}', recursive: true, watch: true, "
                "replica: {{path: /r}}}}\n")
        path = "  - {{path: {}, replica: {{path: /r2}}}}\n"
        cases = (
            ("not there", line.format(root / "none", "*.db"), "none: No such file or directory"),
            ("a file", line.format(root / "file", "*.db"), "file: Not a directory"),
            ("pattern", line.format(root, "[a"), f"scan directory {root}: syntax error in pattern"),
            ("listed by path, too", path.format(root / "sub" / "a.db") + line.format(root, "*.db"),
             f"two entries cover the database {root}/sub/a.db"))
        for why, entries, says in cases:
            with self.subTest(why):
                config.write_text("dbs:\n" + entries)
                self.assert_says(self.box.run([self.tool.binary, "replicate", "-config", config]),
                                 says)

    def test_no_inotify_watch_left(self):
        root, config = self.box.path("root"), self.box.path("litestream.yml")
        (root / "sub" / "deep").mkdir(parents=True)
        config.write_text(f"dbs:\n  - {{dir: {root}, pattern: '*', recursive: true, watch: true, "
                          "replica: {path: /r}}\n")
        script = ("echo 2 > /proc/sys/user/max_inotify_watches || exit 77\n"
                  f"exec {self.tool.binary} replicate -config {config}")
        done = self.box.run(["unshare", "--user", "--map-root-user", "sh", "-c", script])
        if done.returncode == 77 or "unshare" in done.stderr:
            self.skipTest("no user namespace here: " + done.stderr.strip())
        self.assert_says(done, f"start directory monitor for {root}: ",
                         "fs.inotify.max_user_watches")

    # --- rights and space ---

    def as_nobody(self, command):
        """Root may do everything; so as somebody who may not."""
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        return self.box.run((prefix if os.geteuid() == 0 else []) + command)

    def test_directory_without_rights(self):
        writer, replica = self.replicated("db")
        os.chmod(self.box.folder, 0o755)
        closed = self.box.path("closed")
        closed.mkdir(mode=0o555)
        done = self.as_nobody([self.tool.binary, "restore", "-o", closed / "out",
                               lab.url(replica)])
        self.assert_says(done, closed)
        opened = self.box.path("opened")
        opened.mkdir()
        shutil.copyfile(writer.database, opened / "db")
        os.chmod(opened / "db", 0o666)
        os.chmod(opened, 0o777)
        done = self.as_nobody([self.tool.binary, "replicate", "-once", opened / "db",
                               lab.url(closed / "replica")])
        self.assert_says(done, closed, "must be writable")
        # Once, at once: no retries that would hide it.
        self.assertNotIn("retrying", done.stdout)

    def test_database_that_may_not_be_written(self):
        """Says what, where and what to do, and leaves nothing behind."""
        os.chmod(self.box.folder, 0o755)
        replica = self.box.path("replica")
        replica.mkdir()
        os.chmod(replica, 0o777)
        meta = self.box.path("meta")
        meta.mkdir()
        os.chmod(meta, 0o777)
        for why, directory_mode, file_mode, meta_path, words in (
                ("no state directory beside it", 0o555, 0o666, None,
                 (".db-litestream", "set meta-path to a directory")),
                ("no -shm beside it", 0o555, 0o666, meta, ("run litestream as the user",)),
                ("the file", 0o777, 0o444, None, ("may not be written",
                                                  "run litestream as the user"))):
            with self.subTest(why):
                folder = self.box.path(why.replace(" ", "-"))
                folder.mkdir()
                writer = lab.Writer(self.box, self.writer_binary, folder / "db",
                                    folder / "journal")
                writer.run(count=1)
                config = self.box.path("config.yml")
                config.write_text(
                    f"dbs:\n  - path: {folder}/db\n"
                    + (f"    meta-path: {meta_path}/{folder.name}\n" if meta_path else "")
                    + f"    replica: {{path: {replica}/{folder.name}}}\n")
                os.chmod(config, 0o644)
                os.chmod(folder / "db", file_mode)
                os.chmod(folder, directory_mode)
                done = self.as_nobody([self.tool.binary, "replicate", "-once", "-config", config])
                self.assert_says(done, folder / "db" if file_mode != 0o666 or meta_path else folder,
                                 *words)
                self.assertEqual(list(replica.iterdir()), [])
                os.chmod(folder, 0o755)
                os.chmod(folder / "db", 0o644)
                shutil.rmtree(folder)

    def test_what_a_user_may_not_do_is_said(self):
        writer, replica = self.replicated("db")
        os.chmod(self.box.folder, 0o755)
        place = self.box.path("place")

        def prepare(file_mode, folder_mode):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            shutil.copyfile(writer.database, place / "db")
            os.chmod(place / "db", file_mode)
            os.chmod(place, folder_mode)

        prepare(0o000, 0o777)
        done = self.as_nobody([self.tool.binary, "replicate", "-once", place / "db",
                               lab.url(place / "r")])
        self.assert_says(done, place / "db", "Permission denied", "must be able to read")
        self.assertEqual([entry.name for entry in place.iterdir()], ["db"])
        prepare(0o666, 0o555)
        done = self.as_nobody([self.tool.binary, "replicate", "-once", place / "db",
                               lab.url(place / "r")])
        self.assert_says(done, place / ".db-litestream", "Permission denied",
                         "keeps its local state there")
        for file in replica.rglob("*.ltx"):
            os.chmod(file, 0o000)
        os.chmod(place, 0o777)
        for command in (["restore", "-o", place / "out"], ["verify"]):
            done = self.as_nobody([self.tool.binary, *command, lab.url(replica)])
            self.assert_says(done, replica, "Permission denied")
        self.assertEqual([entry.name for entry in place.iterdir()], ["db"])

    def on_small_disk(self, kibibytes, script):
        """Runs a shell script with a small file system at $DISK, in its own mount namespace."""
        disk = self.box.path("disk")
        disk.mkdir(exist_ok=True)
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        environment = {**os.environ, "DISK": str(disk), "BINARY": str(self.tool.binary),
                       "WRITER": str(self.writer_binary)}
        setup = f"mount -t tmpfs -o size={kibibytes}k none '{disk}' && "
        if self.box.run([*unshare, "sh", "-c", setup + "true"], env=environment).returncode != 0:
            self.skipTest("nothing can be mounted here")
        return self.box.run([*unshare, "sh", "-c", setup + script], env=environment)

    def test_restore_onto_a_full_disk(self):
        writer = self.writer("db")
        writer.run(count=1, fill_bytes=3 << 20)
        replica = self.box.path("replica")
        self.assertEqual(self.once(writer.database, replica).returncode, 0)
        done = self.on_small_disk(2048, f'"$BINARY" restore -o "$DISK/out" "{lab.url(replica)}"; '
                                     'code=$?; ls -A "$DISK"; exit $code')
        self.assert_says(done, "out")
        self.assertEqual(done.stdout.strip(), "", "something was left behind")

    def test_replica_on_a_full_disk_recovers(self):
        writer = self.writer("db")
        writer.run(count=1, fill_bytes=3 << 20)
        script = (
            f'"$BINARY" replicate -once "{writer.database}" "file://$DISK/replica" && exit 90; '
            'find "$DISK" -name "*.ltx" | grep . && exit 91; '
            'mount -o remount,size=64m "$DISK" && '
            f'"$BINARY" replicate -once "{writer.database}" "file://$DISK/replica" && '
            f'"$BINARY" restore -o "$DISK/out" "file://$DISK/replica" && '
            f'"$WRITER" --check "$DISK/out" "{writer.journal}"')
        done = self.on_small_disk(1024, script)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("No space left", done.stderr + done.stdout)

    def test_the_disk_is_full_at_any_write(self):
        """Disks of all sizes, so that it is another write that finds no room."""
        writer = self.writer("db")
        writer.run(count=30, page_size=512)
        replica = self.box.path("replica")
        self.assertEqual(self.once(writer.database, replica).returncode, 0)
        self.on_small_disk(1024, "true")  # Or the whole test is skipped here.
        outcomes = set()
        for kibibytes in range(4, 260, 12):
            with self.subTest(kibibytes=kibibytes):
                # Both with their parent directory to make, and beside something that stays.
                done = self.on_small_disk(kibibytes, f"""
                    cp '{writer.database}' "$DISK/db" 2>/dev/null || rm -f "$DISK/db"
                    "$BINARY" restore -o "$DISK/sub/out" 'file://{replica}'; restored=$?
                    if [ $restored = 0 ]; then cmp '{writer.database}' "$DISK/sub/out" || exit 90
                    else [ -z "$(ls -A "$DISK/sub" 2>/dev/null)" ] || exit 91; fi
                    rm -rf "$DISK/sub"
                    [ -e "$DISK/db" ] || exit 0
                    "$BINARY" replicate -once "$DISK/db" "file://$DISK/replica"; kept=$?
                    cmp '{writer.database}' "$DISK/db" || exit 92
                    mount -o remount,size=64m "$DISK"
                    "$BINARY" replicate -once "$DISK/db" "file://$DISK/replica" || exit 93
                    "$BINARY" restore -o "$DISK/out" "file://$DISK/replica" || exit 94
                    "$WRITER" --check "$DISK/out" '{writer.journal}' || exit 95
                    "$BINARY" verify "file://$DISK/replica" || exit 96
                    find "$DISK" -name '*.tmp' | grep . && exit 97
                    echo restore $restored replicate $kept""")
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                if done.stdout.strip():
                    outcomes.add(done.stdout.strip().splitlines()[-1])
        self.assertIn("restore 0 replicate 0", outcomes)
        self.assertIn("restore 1 replicate 1", outcomes)

    def test_a_read_only_disk(self):
        writer, replica = self.replicated("db")
        writer.run(count=3, page_size=512)
        done = self.on_small_disk(4096, f"""
            cp -a '{replica}' "$DISK/replica" && cp '{writer.database}' "$DISK/db" &&
            mount -o remount,ro "$DISK" || exit 90
            "$BINARY" replicate -once '{writer.database}' "file://$DISK/replica" && exit 91
            "$BINARY" replicate -once "$DISK/db" 'file://{self.box.path("r2")}' && exit 92
            "$BINARY" restore -o "$DISK/out" "file://$DISK/replica" && exit 93
            "$BINARY" restore -o '{self.box.path("out")}' "file://$DISK/replica" &&
            "$BINARY" verify "file://$DISK/replica"
            """)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreaterEqual(done.stderr.count("Read-only file system"), 3)
        self.assertFalse(self.box.path("r2").exists())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer", required=True)
    arguments, rest = parser.parse_known_args()
    BadInputTest.binary = pathlib.Path(arguments.binary).resolve()
    BadInputTest.writer_binary = pathlib.Path(arguments.writer).resolve()
    unittest.main(argv=[sys.argv[0], *rest])
