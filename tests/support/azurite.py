#!/usr/bin/env python3
"""Runs a command beside Azurite: a real server of Azure Blob Storage, from npm, in memory.

Usage: azurite.py [--tls] COMMAND...
The command finds it in LITESTREAM_TEST_ABS_ENDPOINT, _ACCOUNT, _KEY and _CONTAINER; with --tls, it
takes tokens too, and the certificate to trust is in LITESTREAM_TEST_ABS_CA. The server is stopped
by its process id, and calls nobody outside. Needs Node and the npm packages of package-lock.json.
"""
import argparse
import base64
import datetime
import hashlib
import hmac
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "node_modules/azurite/dist/src/blob/main.js"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "litestream"
START_SECONDS = 60
MEMORY_MIB = 4096


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def sign(method, path, headers, query=()):
    """The Authorization header for a request without a body."""
    ours = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    parameters = "".join(f"\n{name}:{value}" for name, value in sorted(query))
    text = f"{method}{chr(10) * 12}{ours}/{ACCOUNT}{path}{parameters}"
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    return f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"


def make_sas(container=CONTAINER, permissions="racwdl", expires="2090-01-01T00:00:00Z"):
    """A SAS token of a container."""
    text = "\n".join([permissions, "", expires, f"/blob/{ACCOUNT}/{container}", "", "", "",
                      "2021-12-02", "c", "", "", "", "", "", "", ""])
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    return urllib.parse.urlencode({"sv": "2021-12-02", "sr": "c", "se": expires,
                                   "sp": permissions, "sig": base64.b64encode(digest).decode()})


def connection_string(endpoint, key=KEY):
    return f"AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={endpoint}"


class Azurite:
    def __init__(self, directory, tls=False):
        self.directory = pathlib.Path(directory)
        self.port = free_port()
        self.tls = tls
        self.ca_file = self.directory / "cert.pem" if tls else None
        self.process = None
        scheme = "https" if tls else "http"
        self.endpoint = f"{scheme}://127.0.0.1:{self.port}/{ACCOUNT}"

    def start(self):
        command = ["node", PROGRAM, "--blobHost", "127.0.0.1", "--blobPort", self.port,
                   "--inMemoryPersistence", "--extentMemoryLimit", MEMORY_MIB, "--silent",
                   "--disableTelemetry", "--skipApiVersionCheck"]
        if self.tls:
            self.make_certificate()
            command += ["--oauth", "basic", "--cert", self.directory / "cert.pem", "--key",
                        self.directory / "key.pem"]
        log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen([str(word) for word in command], cwd=self.directory,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.make_container(CONTAINER, time.monotonic() + START_SECONDS)

    def make_certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        self.directory / "key.pem", "-out", self.directory / "cert.pem"],
                       check=True, capture_output=True)

    def make_container(self, name, deadline):
        context = ssl.create_default_context(cafile=self.ca_file) if self.tls else None
        while True:
            now = datetime.datetime.now(datetime.timezone.utc)
            headers = {"x-ms-date": now.strftime("%a, %d %b %Y %H:%M:%S GMT"),
                       "x-ms-version": "2021-12-02"}
            path = f"/{ACCOUNT}/{name}"
            headers["Authorization"] = sign("PUT", path, headers, [("restype", "container")])
            request = urllib.request.Request(f"{self.endpoint}/{name}?restype=container",
                                             method="PUT", headers=headers)
            try:
                urllib.request.urlopen(request, timeout=30, context=context).close()
                return
            except (urllib.error.URLError, OSError) as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.directory / "log").read_text()
                    raise RuntimeError(f"Azurite does not answer: {error}\n{log}") from error
            time.sleep(0.1)

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def environment(self):
        values = dict(os.environ, LITESTREAM_TEST_ABS_ENDPOINT=self.endpoint,
                      LITESTREAM_TEST_ABS_ACCOUNT=ACCOUNT, LITESTREAM_TEST_ABS_KEY=KEY,
                      LITESTREAM_TEST_ABS_CONTAINER=CONTAINER)
        if self.tls:
            values["LITESTREAM_TEST_ABS_CA"] = str(self.ca_file)
        return values


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not shutil.which("node") or not PROGRAM.exists():
        print("missing: node, or the npm package azurite; run tools/install_deps.sh",
              file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="litestream-azurite-") as directory:
        server = Azurite(directory, options.tls)
        try:
            server.start()
            return subprocess.run(options.command, env=server.environment(),
                                  check=False).returncode
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
