"""What the stress tests share: one database with its writer, replicator and final comparison."""
import concurrent.futures
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import lab  # noqa: E402

CONFIG = """\
shutdown-sync-timeout: 20s
dbs:
  - path: {database}
    monitor-interval: {monitor}
    checkpoint-interval: 2s
    min-checkpoint-page-count: {checkpoint_pages}
    replica: {{path: {replica}, sync-interval: {sync}}}
"""
CHECKERS = 2


class Rig:
    """One database in a folder of its own."""

    def __init__(self, box, binary, writer, name):
        self.box = box
        self.folder = box.path(name)
        self.folder.mkdir()
        self.tool = lab.Litestream(box, binary)
        self.writer = lab.Writer(box, writer, self.folder / "db", self.folder / "journal")
        self.replica = self.folder / "replica"
        self.config = self.folder / "litestream.yml"
        self.log = self.folder / "log"
        self.checked = {}  # TXID -> counter

    @property
    def database(self):
        return self.writer.database

    def write_config(self, **values):
        defaults = {"monitor": "50ms", "sync": "50ms", "checkpoint_pages": 100}
        self.config.write_text(CONFIG.format(database=self.database, replica=self.replica,
                                             **{**defaults, **values}))

    def start_replicator(self):
        return self.tool.replicate_config(self.config, self.log)

    def log_tail(self):
        try:
            return self.log.read_text(errors="replace")[-3000:]
        except FileNotFoundError:
            return "(no log)"

    def catch_up(self):
        """Replicates everything there is, and stops cleanly."""
        done = self.box.run([self.tool.binary, "replicate", "-config", self.config, "-once"])
        lab.require(done.returncode == 0,
                    f"replicate -once: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr}")

    def compare_newest(self):
        """The newest state is the source, byte for byte. Returns its counter."""
        original = lab.checkpointed_copy(self.box, self.database, f"{self.folder.name}/original")
        copy = self.folder / "newest"
        copy.unlink(missing_ok=True)
        self.tool.must_restore(self.replica, copy)
        difference = lab.first_difference(copy, original)
        lab.require(difference is None, f"restored and source: {difference}")
        counter = self.writer.check(copy)
        last = self.writer.journal_lines()[-1][0]
        lab.require(last <= counter <= last + 1, f"commit {counter} restored, {last} is the last")
        return counter

    def check_txids(self, sample=None, in_order=True):
        """Restores every TXID that was not checked yet (or about `sample` of them)."""
        txids = [txid for txid in lab.restorable_txids(lab.replica_files(self.replica))
                 if txid not in self.checked]
        if sample and len(txids) > sample:
            txids = sorted({txids[len(txids) * i // sample] for i in range(sample)} | {txids[-1]})
        with concurrent.futures.ThreadPoolExecutor(CHECKERS) as pool:
            for txid, counter in zip(txids, pool.map(self._check_txid, txids)):
                self.checked[txid] = counter
        counters = [self.checked[txid] for txid in sorted(self.checked)]
        lab.require(not in_order or counters == sorted(counters),
                    "a later TXID holds an earlier commit")
        return len(txids)

    def _check_txid(self, txid):
        copy = self.folder / f"at-{txid}"
        self.tool.must_restore(self.replica, copy, txid=txid)
        counter = self.writer.check(copy)
        copy.unlink()
        return counter

    def verify(self):
        done = self.tool.verify(self.replica)
        lab.require(done.returncode == 0,
                    f"litestream verify: exit {done.returncode}\n{done.stdout}{done.stderr}")

    def require_no_leftovers(self):
        """A clean stop leaves no temporary file, on the replica or beside the database."""
        left = [path for path in self.folder.rglob("*.tmp*") if path.is_file()]
        lab.require(not left, f"left behind: {left}")
