#!/usr/bin/env python3
"""Runs a command beside real WebDAV servers: Apache (mod_dav) and rclone, on the loopback.

Usage: webdav_servers.py [--keep-logs DIR] COMMAND...
The command finds them in LITESTREAM_TEST_WEBDAV_APACHE, _RCLONE, _USER and _PASSWORD. Each is
stopped by its process id, and nothing is left behind. Needs apache2 and rclone; the service of the
system, if there is one, is left alone.

Apache has several folders, each of them a share of its own:
  /basic, /digest   for this user, who is asked in that way
  /open             for everybody
  /limited          no file above 1 MB
  /frozen           may be read, not changed
  /plain            no WebDAV
"""
import argparse
import base64
import hashlib
import http.client
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from radosgw import free_ports, stop_process

USER = "backup user"
PASSWORD = "pä:ss wörd\"\\%+"
REALM = "litestream test"
FOLDERS = ("basic", "digest", "open", "limited", "frozen", "plain")
LIMIT_BYTES = 1_000_000
START_SECONDS = 30

CONFIG = """{user}
ServerRoot {root}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {dir}/run/pid
ErrorLog {dir}/log/apache.log
Mutex file:{dir}/run default
{modules}
DocumentRoot {dir}/www
DavLockDB {dir}/run/DavLock
KeepAliveTimeout 60
MaxKeepAliveRequests 0
# A "Dav On" further up could not be taken back for /plain.
<DirectoryMatch "^{dir}/www/(basic|digest|open|limited|frozen)">
  Dav On
</DirectoryMatch>
<Directory {dir}/www/basic>
  AuthType Basic
  AuthName "{realm}"
  AuthUserFile {dir}/basic
  Require valid-user
</Directory>
<Directory {dir}/www/digest>
  AuthType Digest
  AuthName "{realm}"
  AuthUserFile {dir}/digest
  AuthDigestNonceLifetime {nonce_seconds}
  Require valid-user
</Directory>
<Directory {dir}/www/limited>
  LimitRequestBody {limit}
</Directory>
<Directory {dir}/www/frozen>
  <LimitExcept GET HEAD OPTIONS PROPFIND>
    Require all denied
  </LimitExcept>
</Directory>
"""
MODULES = ("mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic",
           "auth_digest", "dav", "dav_fs")
SERVER_ROOT = pathlib.Path("/usr/lib/apache2")


def wait_until_it_answers(port):
    deadline = time.monotonic() + START_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("OPTIONS", "/")
            connection.getresponse().read()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server on port {port} does not answer") from error
            time.sleep(0.05)
        finally:
            connection.close()


class Apache:
    """An instance with its own configuration, in its own folder."""

    def __init__(self, directory, nonce_seconds=300):
        self.dir = pathlib.Path(directory)
        self.port = free_ports(1)[0]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.nonce_seconds = nonce_seconds

    def start(self):
        for name in ("run", "log", *(f"www/{folder}" for folder in FOLDERS)):
            (self.dir / name).mkdir(parents=True)
        digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
        (self.dir / "basic").write_text(f"{USER}:{{SHA}}{digest}\n")
        secret = hashlib.md5(f"{USER}:{REALM}:{PASSWORD}".encode()).hexdigest()
        (self.dir / "digest").write_text(f"{USER}:{REALM}:{secret}\n")
        user = ""
        if os.geteuid() == 0:
            # Apache does not serve as root.
            user = "User www-data\nGroup www-data"
            self.dir.chmod(0o755)
            for path in [self.dir, *self.dir.rglob("*")]:
                shutil.chown(path, "www-data", "www-data")
        config = self.dir / "apache.conf"
        config.write_text(CONFIG.format(
            user=user, root=SERVER_ROOT, port=self.port, dir=self.dir, realm=REALM,
            nonce_seconds=self.nonce_seconds, limit=LIMIT_BYTES,
            modules="\n".join(f"LoadModule {name}_module modules/mod_{name}.so"
                              for name in MODULES)))
        subprocess.run(["apache2", "-f", config], check=True, timeout=START_SECONDS)
        wait_until_it_answers(self.port)

    def stop(self):
        path = self.dir / "run/pid"
        if path.exists():
            stop_process(int(path.read_text()))


class Rclone:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.port = free_ports(1)[0]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        (self.dir / "www").mkdir()
        (self.dir / "log").mkdir()
        environment = dict(os.environ, RCLONE_USER=USER, RCLONE_PASS=PASSWORD)
        with open(self.dir / "log/rclone.log", "wb") as log:
            self.process = subprocess.Popen(
                ["rclone", "serve", "webdav", self.dir / "www", "--addr", f"127.0.0.1:{self.port}",
                 "--config", self.dir / "rclone.conf", "--cache-dir", self.dir / "cache"],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until_it_answers(self.port)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep-logs", help="copy the logs there at the end")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    missing = [name for name in ("apache2", "rclone") if not shutil.which(name)]
    if missing:
        print(f"missing: {' '.join(missing)}; run tools/install_deps.sh", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="litestream-webdav-") as directory:
        os.chmod(directory, 0o755)
        servers = []
        try:
            for kind in (Apache, Rclone):
                folder = pathlib.Path(directory) / kind.__name__.lower()
                folder.mkdir()
                servers.append(kind(folder))
                servers[-1].start()
            environment = dict(os.environ, LITESTREAM_TEST_WEBDAV_APACHE=servers[0].endpoint,
                               LITESTREAM_TEST_WEBDAV_RCLONE=servers[1].endpoint,
                               LITESTREAM_TEST_WEBDAV_USER=USER,
                               LITESTREAM_TEST_WEBDAV_PASSWORD=PASSWORD)
            return subprocess.run(options.command, env=environment, check=False).returncode
        finally:
            for server in servers:
                server.stop()
                if options.keep_logs:
                    shutil.copytree(server.dir / "log", options.keep_logs, dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
