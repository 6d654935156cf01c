#!/usr/bin/env python3
"""Runs a command beside SFTP servers: OpenSSH's, the same without extensions of the protocol, and
rclone's. All from Debian, on free loopback ports, with keys of their own.

Usage: sftp_server.py COMMAND...
The command finds them in LITESTREAM_TEST_SFTP_DIR: a directory with
  sshd.port, sshd.user, sshd.root     the server, and a directory that it serves
  plain.port, plain.user, plain.root  the one without extensions
  rclone.port, rclone.user, rclone.password, rclone.root
                                      the same; there the directory is "/"
  host_key.pub, rsa_host_key.pub      keys of sshd
  key, rsa_key, ecdsa_key             private keys that sshd lets in
  locked_key, passphrase              another, encrypted
  foreign_key                         one that it does not let in
Nothing is left behind: each server is stopped by its process id. Needs openssh-server and rclone.
"""
import getpass
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SSHD = "/usr/sbin/sshd"
START_SECONDS = 30
RCLONE_USER = "backup"
RCLONE_PASSWORD = "pass/of+rclone"
PASSPHRASE = "phrase of+the=key"

CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey {dir}/host_key
HostKey {dir}/rsa_host_key
AuthorizedKeysFile {dir}/authorized_keys
PidFile {dir}/{name}.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 200
RekeyLimit 4M
Subsystem sftp internal-sftp
ForceCommand internal-sftp {options}
"""
PLAIN = "-P posix-rename,hardlink,fsync"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for_port(port, process):
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.settimeout(START_SECONDS)
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args[0]} does not answer on port {port}")
        time.sleep(0.02)


class Servers:
    """The servers, in a directory of their own."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.processes = {}

    def make_key(self, name, kind, passphrase=""):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", name, "-f",
                        self.dir / name], check=True, stdin=subprocess.DEVNULL)

    def write(self, name, text):
        (self.dir / name).write_text(str(text))

    def start(self):
        for name, kind in (("host_key", "ed25519"), ("rsa_host_key", "rsa"), ("key", "ed25519"),
                           ("rsa_key", "rsa"), ("ecdsa_key", "ecdsa"), ("foreign_key", "ed25519")):
            self.make_key(name, kind)
        self.make_key("locked_key", "ed25519", PASSPHRASE)
        self.write("passphrase", PASSPHRASE)
        self.write("authorized_keys", "".join(
            (self.dir / f"{name}.pub").read_text()
            for name in ("key", "rsa_key", "ecdsa_key", "locked_key")))
        self.start_sshd("sshd", "")
        self.start_sshd("plain", PLAIN)
        self.start_rclone()

    def start_sshd(self, server, options):
        port = free_port()
        root = self.dir / f"{server}-root"
        root.mkdir()
        for name, text in (("port", port), ("user", getpass.getuser()), ("root", root)):
            self.write(f"{server}.{name}", text)
        config = self.dir / f"{server}.conf"
        config.write_text(CONFIG.format(port=port, dir=self.dir, name=server, options=options))
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        # In the foreground, so that it ends with us.
        self.processes[server] = subprocess.Popen(
            [SSHD, "-D", "-f", config, "-E", self.dir / f"{server}.log"],
            stdin=subprocess.DEVNULL, start_new_session=True)
        wait_for_port(port, self.processes[server])

    def start_rclone(self):
        port = free_port()
        root = self.dir / "rclone-root"
        root.mkdir()
        for name, text in (("port", port), ("user", RCLONE_USER), ("password", RCLONE_PASSWORD),
                           ("root", root)):
            self.write(f"rclone.{name}", text)
        environment = dict(os.environ, HOME=str(self.dir), XDG_CACHE_HOME=str(self.dir / "cache"),
                           RCLONE_CONFIG=str(self.dir / "rclone.conf"))
        with open(self.dir / "rclone.log", "ab") as log:
            self.processes["rclone"] = subprocess.Popen(
                ["rclone", "serve", "sftp", root, "--addr", f"127.0.0.1:{port}", "--user",
                 RCLONE_USER, "--pass", RCLONE_PASSWORD, "--dir-cache-time", "0s"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        wait_for_port(port, self.processes["rclone"])

    def stop(self, name):
        process = self.processes.pop(name, None)
        if process is None:
            return
        if name != "rclone":
            # The processes that it has for each connection are in its session.
            os.killpg(process.pid, signal.SIGTERM)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self):
        for name in list(self.processes):
            self.stop(name)


def missing_programs():
    return [name for name in (SSHD, "ssh-keygen", "rclone") if not shutil.which(name)]


def main():
    missing = missing_programs()
    if missing:
        print(f"missing: {' '.join(missing)}; run tools/install_deps.sh", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="litestream-sftp-") as directory:
        servers = Servers(directory)
        try:
            servers.start()
            environment = dict(os.environ, LITESTREAM_TEST_SFTP_DIR=directory)
            return subprocess.run(sys.argv[1:], env=environment, check=False).returncode
        finally:
            servers.close()


if __name__ == "__main__":
    sys.exit(main())
