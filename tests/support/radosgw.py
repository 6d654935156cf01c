#!/usr/bin/env python3
"""Runs a command beside a Ceph object gateway: a real S3 server, from Debian, in memory.

Usage: radosgw.py [--keep-logs DIR] COMMAND...
The command finds it in LITESTREAM_TEST_S3_ENDPOINT, _ACCESS_KEY, _SECRET_KEY and _BUCKET. Nothing
is left behind: each daemon is stopped by its process id. Needs radosgw, ceph-mon, ceph-osd.
"""
import argparse
import datetime
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

ACCESS_KEY = "AKIATEST"
SECRET_KEY = "SECRETTEST"
BUCKET = "litestream"
PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw",
            "radosgw-admin")
START_SECONDS = 120

CONFIG = """[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
keyring = {dir}/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 4294967296
mon_data = {dir}/mon-a
osd_data = {dir}/osd-0
rgw_data = {dir}/rgw
run_dir = {dir}/run
admin_socket = {dir}/run/$cluster-$name.asok
pid_file = {dir}/run/$name.pid
log_file = {dir}/log/$name.log
mon_data_avail_crit = 1
rgw_crypt_require_ssl = false
rgw_frontends = beast endpoint=127.0.0.1:{ports[2]}
rgw_dns_name = s3.localhost
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Cluster:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.ports = free_ports(3)
        self.endpoint = f"http://127.0.0.1:{self.ports[2]}"

    def run(self, *words, stdin=None):
        """The output of a command; raises with what it said if it fails."""
        done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True,
                              text=True, timeout=START_SECONDS, cwd=self.dir)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        for name in ("mon-a", "osd-0", "run", "log", "rgw"):
            (self.dir / name).mkdir()
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        config = self.dir / "ceph.conf"
        config.write_text(CONFIG.format(fsid=fsid, dir=self.dir, ports=self.ports))
        keyring, monmap = self.dir / "keyring", self.dir / "monmap"
        self.run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.",
                 "--cap", "mon", "allow *")
        self.run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", "--cap", "mon",
                 "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        self.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a",
                 f"[v2:127.0.0.1:{self.ports[0]},v1:127.0.0.1:{self.ports[1]}]", monmap)
        self.run("ceph-mon", "-c", config, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring",
                 keyring)
        self.run("ceph-mon", "-c", config, "-i", "a")
        secret = self.run("ceph-authtool", "--gen-print-key").strip()
        self.run("ceph", "-c", config, "osd", "new", osd, "-i", "-",
                 stdin=json.dumps({"cephx_secret": secret}))
        self.run("ceph-authtool", keyring, "-n", "osd.0", "--add-key", secret)
        self.run("ceph-osd", "-c", config, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.run("ceph-osd", "-c", config, "-i", "0")
        self.run("ceph", "-c", config, "osd", "crush", "add", "osd.0", "1.0", "root=default",
                 "host=local")
        self.run("radosgw", "-c", config, "-n", "client.admin")
        self.run("radosgw-admin", "-c", config, "user", "create", "--uid=ls", "--display-name=ls",
                 f"--access-key={ACCESS_KEY}", f"--secret={SECRET_KEY}")
        self.make_bucket(time.monotonic() + START_SECONDS)

    def make_bucket(self, deadline):
        while True:
            request = urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT",
                                             headers=sign_put(self.endpoint, f"/{BUCKET}"))
            try:
                urllib.request.urlopen(request, timeout=30).close()
                return
            except (urllib.error.URLError, OSError) as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the gateway does not answer: {error}") from error
            time.sleep(0.2)

    def stop(self):
        """The gateway first: the others wait for the monitor."""
        for name in ("client.admin", "osd.0", "mon.a"):
            path = self.dir / "run" / f"{name}.pid"
            if not path.exists():
                continue
            pid = int(path.read_text())
            stop_process(pid)


def stop_process(pid):
    for number, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 20)):
        try:
            os.kill(pid, number)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                os.kill(pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            return


def sign_put(endpoint, path):
    """Headers of an AWS Signature V4 for an empty PUT."""
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    host = endpoint.split("//")[1]
    empty = hashlib.sha256(b"").hexdigest()
    names = "host;x-amz-content-sha256;x-amz-date"
    canonical = (f"PUT\n{path}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n\n"
                 f"{names}\n{empty}")
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + SECRET_KEY).encode()
    for step in scope.split("/"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return {"x-amz-date": stamp, "x-amz-content-sha256": empty, "Authorization":
            f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, "
            f"Signature={signature}"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep-logs", help="copy the logs there at the end")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        print(f"missing: {' '.join(missing)}; run tools/install_deps.sh", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="litestream-rgw-") as directory:
        cluster = Cluster(directory)
        try:
            cluster.start()
            environment = dict(os.environ, LITESTREAM_TEST_S3_ENDPOINT=cluster.endpoint,
                               LITESTREAM_TEST_S3_ACCESS_KEY=ACCESS_KEY,
                               LITESTREAM_TEST_S3_SECRET_KEY=SECRET_KEY,
                               LITESTREAM_TEST_S3_BUCKET=BUCKET)
            return subprocess.run(options.command, env=environment, check=False).returncode
        finally:
            cluster.stop()
            if options.keep_logs:
                shutil.copytree(cluster.dir / "log", options.keep_logs, dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
