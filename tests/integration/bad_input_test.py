#!/usr/bin/env python3
"""Damaged files, full disks, missing rights, somebody else's replica: a clear error, nothing lost,
never a database that is silently wrong."""
import argparse
import os
import pathlib
import random
import shutil
import sys
import unittest

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
        self.once(second.database, replica)
        # Whether that is refused or goes on above: what the first one stored is still there.
        for txid in before:
            copy = self.box.path(f"copy{txid}")
            self.tool.must_restore(replica, copy, txid=txid)
            first.check(copy)
        newest = self.box.path("newest")
        self.tool.must_restore(replica, newest)
        owner = second if lab.newest_txid(lab.replica_files(replica)) > before[-1] else first
        owner.check(newest)
        self.assertEqual(self.tool.verify(replica).returncode, 0)

    # --- rights and space ---

    def as_nobody(self, command):
        """Root may do everything; so as somebody who may not."""
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        return self.box.run((prefix if os.geteuid() == 0 else []) + command)

    def test_directory_without_rights(self):
        writer, replica = self.replicated("db")
        os.chmod(self.box.folder, 0o755)
        closed = self.box.path("closed")
        closed.mkdir(mode=0o500)
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
        self.assert_says(done, closed)

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
                                                  "run litestream as the user")),
                ("not even read", 0o777, 0o000, None, ("Permission denied",
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

    def on_small_disk(self, mebibytes, script):
        """Runs a shell script with a small file system at $DISK, in its own mount namespace."""
        disk = self.box.path("disk")
        disk.mkdir(exist_ok=True)
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        setup = f"mount -t tmpfs -o size={mebibytes}m none '{disk}' && "
        return self.box.run([*unshare, "sh", "-c", setup + script],
                            env={**os.environ, "DISK": str(disk), "BINARY": str(self.tool.binary),
                                 "WRITER": str(self.writer_binary)})

    def test_restore_onto_a_full_disk(self):
        writer = self.writer("db")
        writer.run(count=1, fill_bytes=3 << 20)
        replica = self.box.path("replica")
        self.assertEqual(self.once(writer.database, replica).returncode, 0)
        done = self.on_small_disk(2, f'"$BINARY" restore -o "$DISK/out" "{lab.url(replica)}"; '
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
        done = self.on_small_disk(1, script)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("No space left", done.stderr + done.stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--writer", required=True)
    arguments, rest = parser.parse_known_args()
    BadInputTest.binary = pathlib.Path(arguments.binary).resolve()
    BadInputTest.writer_binary = pathlib.Path(arguments.writer).resolve()
    unittest.main(argv=[sys.argv[0], *rest])
