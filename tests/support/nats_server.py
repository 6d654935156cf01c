#!/usr/bin/env python3
"""Runs a command beside NATS servers: Debian's nats-server, three times.

Usage: nats_server.py COMMAND...
The command finds in the environment:
  LITESTREAM_TEST_NATS_HOST      users "litestream" (password "SECRET/pass word"), an nkey, and
                                 "reader", who may not write
  LITESTREAM_TEST_NATS_TLS_HOST  TLS with client certificates, a token, JetStream's domain "hub"
  LITESTREAM_TEST_NATS_JWT_HOST  an operator and users with JWTs
  LITESTREAM_TEST_NATS_DIR       ca.pem, client.pem, client.key, user.creds, user.jwt, user.seed,
                                 nkey.seed
Nothing is left behind: each server is stopped by its process id. Needs nats-server, openssl.
"""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

USER, PASSWORD = "litestream", "SECRET/pass word"
READER, READER_PASSWORD = "reader", "SECRET-reader"
TOKEN = "SECRET-token"
START_SECONDS = 30

# An operator, its system account, an account with JetStream and a user of that, made for these
# tests; they never expire.
SYSTEM_ID = "ADA2ZZRGRRN2JTFXNZPOLAG2S2ZXELHG3HHTERB444PZ4ATKRQVJ4O23"
ACCOUNT_ID = "AAQCHDJK5M73OQQ2DMR2T2MYICDBC5ZNQWZL5UW7JXTKAYNVAZQGSRFF"
OPERATOR = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJzdWIiOiJPQkpQQkRDVU5EMlVCWE9ZVlpHV"
    "llQU0VGR05JMldBVkRaU1NNWFFUR0pVUzZBSU5JSVpNN00zSiIsIm5hbWUiOiJ0ZXN0IiwibmF0cyI6eyJ0e"
    "XBlIjoib3BlcmF0b3IiLCJ2ZXJzaW9uIjoyfSwianRpIjoiMk1HQjQ1R1UySU1JWVpIRlNNQUxIRjdCR0pFU"
    "UQzMjVBUDQ3RDJFRTc2Rk5YU1lYRjNJUSIsImlhdCI6MTc2NzIyNTYwMCwiaXNzIjoiT0JKUEJEQ1VORDJVQ"
    "lhPWVZaR1ZZUFNFRkdOSTJXQVZEWlNTTVhRVEdKVVM2QUlOSUlaTTdNM0oifQ.7d-lH9KVwCmv1ARNOX7du0"
    "SCrmMWMN-BjXJ4Te0DyiKr67HeqHR8gPxSdZKnONsr9HoJXzeyfVZ_rULdVlImCw")
SYSTEM = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJzdWIiOiJBREEyWlpSR1JSTjJKVEZYTlpQT"
    "0xBRzJTMlpYRUxIRzNISFRFUkI0NDRQWjRBVEtSUVZKNE8yMyIsIm5hbWUiOiJTWVMiLCJuYXRzIjp7Imxpb"
    "Wl0cyI6eyJzdWJzIjotMSwiZGF0YSI6LTEsInBheWxvYWQiOi0xLCJpbXBvcnRzIjotMSwiZXhwb3J0cyI6L"
    "TEsIndpbGRjYXJkcyI6dHJ1ZSwiY29ubiI6LTEsImxlYWYiOi0xfSwiZGVmYXVsdF9wZXJtaXNzaW9ucyI6e"
    "yJwdWIiOnt9LCJzdWIiOnt9fSwidHlwZSI6ImFjY291bnQiLCJ2ZXJzaW9uIjoyfSwianRpIjoiWUM1UUxXS"
    "1NPNkM3TkozNU5BWVFCN1dZWkI3RVJSRFc0SllBMk03UENEVUpZRkxMRDNQQSIsImlhdCI6MTc2NzIyNTYwM"
    "CwiaXNzIjoiT0JKUEJEQ1VORDJVQlhPWVZaR1ZZUFNFRkdOSTJXQVZEWlNTTVhRVEdKVVM2QUlOSUlaTTdNM"
    "0oifQ.RYgoKjZjAadJi9mh5-7YdkSsdUTTYq2aSM0TsOrB5S5128STMjDPK5BapvV7bvx8F2vb7s6-59ut33"
    "Y6Y-3KBw")
ACCOUNT = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJzdWIiOiJBQVFDSERKSzVNNzNPUVEyRE1SM"
    "lQyTVlJQ0RCQzVaTlFXWkw1VVc3SlhUS0FZTlZBWlFHU1JGRiIsIm5hbWUiOiJiYWNrdXBzIiwibmF0cyI6e"
    "yJsaW1pdHMiOnsic3VicyI6LTEsImRhdGEiOi0xLCJwYXlsb2FkIjotMSwiaW1wb3J0cyI6LTEsImV4cG9yd"
    "HMiOi0xLCJ3aWxkY2FyZHMiOnRydWUsImNvbm4iOi0xLCJsZWFmIjotMSwibWVtX3N0b3JhZ2UiOi0xLCJka"
    "XNrX3N0b3JhZ2UiOi0xLCJzdHJlYW1zIjotMSwiY29uc3VtZXIiOi0xfSwiZGVmYXVsdF9wZXJtaXNzaW9uc"
    "yI6eyJwdWIiOnt9LCJzdWIiOnt9fSwidHlwZSI6ImFjY291bnQiLCJ2ZXJzaW9uIjoyfSwianRpIjoiUEdJT"
    "DVUMkhHQkVKU0pDN0tQRUpEU00zTEVONDNZTVFQS0NHNVdOMlJLSFozQVFPTTRWUSIsImlhdCI6MTc2NzIyN"
    "TYwMCwiaXNzIjoiT0JKUEJEQ1VORDJVQlhPWVZaR1ZZUFNFRkdOSTJXQVZEWlNTTVhRVEdKVVM2QUlOSUlaT"
    "TdNM0oifQ.ZF3jUSuPDwCXi33iGUVFhVV4O_GoNS8_3MpTvz5PHjbA1xC0ym_ei9VjTeYZETRmOd6hzZR7gJ"
    "V_LeUDPjUdBQ")
USER_JWT = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJzdWIiOiJVQU9ISEJSSkpCU05OWlpGVUJEQ"
    "zZOVzVYNkhPNEczU1VBNlEyTkVaR0dKTE9LQzI0V0xSQVZZTyIsIm5hbWUiOiJsaXRlc3RyZWFtIiwibmF0c"
    "yI6eyJwdWIiOnt9LCJzdWIiOnt9LCJzdWJzIjotMSwiZGF0YSI6LTEsInBheWxvYWQiOi0xLCJ0eXBlIjoid"
    "XNlciIsInZlcnNpb24iOjJ9LCJqdGkiOiJCNzNXNUQ1M1JMV0UzVjZPUU80UVpPUVdYSVJDQlNDQ0JCMlI1N"
    "khHUDREQVdSTFlNRjNRIiwiaWF0IjoxNzY3MjI1NjAwLCJpc3MiOiJBQVFDSERKSzVNNzNPUVEyRE1SMlQyT"
    "VlJQ0RCQzVaTlFXWkw1VVc3SlhUS0FZTlZBWlFHU1JGRiJ9.MhuAHJmCbLufGZfuayDdTlToQ0hNatrKmW-Y"
    "Mc-Cw-fcHOgBRv4zHmx-y_iOhgC5aRHftbQc5ZKtZTnlLWaZCQ")
USER_SEED = "SUAAN6TX3FKC4MN2I4FEB36NHYCUIX5LOR2RCX5LTPQYO3MLRAMHGIALRM"
NKEY = "UAMYLH2HBUTK3G6CIFRZOUTGJKPXL4VLSRNJ2T33L667PFVM6K5ALFWT"
NKEY_SEED = "SUAI5OSBCGKO3V274I2GLJKLUCYM4E67INTQ746JTAQR6XBT3HHRM44WVI"

MAIN = """
authorization {
  users = [
    {user: %s, password: %s}
    {nkey: %s}
    {user: %s, password: %s, permissions: {
      publish: {allow: ["$JS.API.STREAM.INFO.>", "$JS.API.STREAM.MSG.GET.>"]}
      subscribe: "_INBOX.>"}}
  ]
}
""" % (json.dumps(USER), json.dumps(PASSWORD), NKEY, READER, json.dumps(READER_PASSWORD))

TLS = """
authorization {token: %s}
tls {cert_file: "server.pem", key_file: "server.key", ca_file: "ca.pem", verify: true}
""" % json.dumps(TOKEN)

JWT = """
operator: %s
system_account: %s
resolver: MEMORY
resolver_preload: {%s: %s, %s: %s}
""" % (OPERATOR, SYSTEM_ID, SYSTEM_ID, SYSTEM, ACCOUNT_ID, ACCOUNT)

CREDS = """-----BEGIN NATS USER JWT-----
%s
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
%s
------END USER NKEY SEED------
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Server:
    """One nats-server, its data in `directory`. Can be stopped and started again."""

    def __init__(self, directory, name, config="", port=0, domain=""):
        self.dir = pathlib.Path(directory)
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.config = self.dir / f"{name}.conf"
        self.log = self.dir / f"{name}.log"
        jetstream = f"store_dir: {json.dumps(str(self.dir / name))}"
        if domain:
            jetstream += f", domain: {domain}"
        self.config.write_text(f"listen: \"{self.host}\"\njetstream {{{jetstream}}}\n"
                               f"log_file: {json.dumps(str(self.log))}\n{config}")
        self.process = None

    def start(self):
        self.process = subprocess.Popen(["nats-server", "-c", str(self.config)], cwd=self.dir)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    if connection.recv(5) == b"INFO ":
                        return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text() if self.log.exists() else ""
                self.stop()
                raise RuntimeError(f"nats-server does not start: {said}")
            time.sleep(0.05)

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Client:
    """As much of the protocol as it takes to ask a server something. Plain TCP only."""

    def __init__(self, port, **login):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        hello = dict(login, verbose=False, headers=True, no_responders=True, lang="test",
                     version="1")
        self.socket.sendall(b"CONNECT " + json.dumps(hello).encode() + b"\r\nSUB _INBOX.t 1\r\n")

    def ask(self, subject, **request):
        """The answer to a request in JSON, as an object."""
        body = json.dumps(request).encode()
        self.socket.sendall(f"PUB {subject} _INBOX.t {len(body)}\r\n".encode() + body + b"\r\n")
        while True:
            words = self.file.readline().split()
            if not words or words[0] == b"-ERR":
                raise RuntimeError(f"{subject}: {words}")
            if words[0] == b"PING":
                self.socket.sendall(b"PONG\r\n")
            if words[0] in (b"MSG", b"HMSG"):
                return json.loads(self.file.read(int(words[-1]) + 2) or b"{}")

    def make_bucket(self, name, **more):
        """An empty object store, as the clients of NATS make it."""
        answer = self.ask(f"$JS.API.STREAM.CREATE.OBJ_{name}", **dict(
            dict(name=f"OBJ_{name}", subjects=[f"$O.{name}.C.>", f"$O.{name}.M.>"],
                 storage="file", discard="new", allow_rollup_hdrs=True, allow_direct=True,
                 num_replicas=1, retention="limits"), **more))
        if "error" in answer:
            raise RuntimeError(f"bucket {name}: {answer['error']}")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def make_certificates(directory):
    """An authority, and what it signed for the server (localhost) and a client."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
    for name, names in (("server", "DNS:localhost"), ("client", "DNS:client")):
        (directory / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def url(host, bucket):
    """Of the main server, with its first user."""
    return f"nats://{USER}:{urllib.parse.quote(PASSWORD, safe='')}@{host}/{bucket}"


def main():
    missing = [name for name in ("nats-server", "openssl") if not shutil.which(name)]
    if missing:
        print(f"missing: {' '.join(missing)}; run tools/install_deps.sh", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="litestream-nats-") as name, \
            contextlib.ExitStack() as servers:
        directory = pathlib.Path(name)
        make_certificates(directory)
        for file, content in (("user.creds", CREDS % (USER_JWT, USER_SEED)),
                              ("user.jwt", USER_JWT), ("user.seed", USER_SEED),
                              ("nkey.seed", NKEY_SEED)):
            (directory / file).write_text(content)
        environment = dict(os.environ, LITESTREAM_TEST_NATS_DIR=name)
        for kind, config, domain in (("", MAIN, ""), ("_TLS", TLS, "hub"), ("_JWT", JWT, "")):
            server = servers.enter_context(
                Server(directory, f"server{kind}".lower(), config, domain=domain))
            environment[f"LITESTREAM_TEST_NATS{kind}_HOST"] = server.host
        return subprocess.run(sys.argv[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
