#!/usr/bin/env python3
"""The program and a container of Azure Blob Storage: replicate, list, verify, restore, a second
writer, keys that are wrong, tokens, another client, a network that does what networks do.
Started by tests/support/azurite.py, which runs the server."""
import argparse
import base64
import http.server
import json
import os
import pathlib
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/support")]
import azurite  # noqa: E402
import chaos_case  # noqa: E402
import chaos_proxy  # noqa: E402
import lab  # noqa: E402

OPTIONS = None
ENDPOINT = os.environ["LITESTREAM_TEST_ABS_ENDPOINT"]
CONTAINER = os.environ["LITESTREAM_TEST_ABS_CONTAINER"]
ACCOUNT, KEY = azurite.ACCOUNT, azurite.KEY
OURS = ("AZURE_", "LITESTREAM_AZURE_", "IDENTITY_", "MSI_")


def clean_environment(**more):
    """Without what the caller's shell may hold."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return dict(clean, **more)


def environment(endpoint=ENDPOINT, key=KEY):
    return clean_environment(
        AZURE_STORAGE_CONNECTION_STRING=azurite.connection_string(endpoint, key))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class AbsCase(unittest.TestCase):
    """A database, and a place for its replica."""

    def setUp(self):
        self.box = lab.Lab("abs")
        self.addCleanup(self.box.__exit__)
        self.url = f"abs://{ACCOUNT}@{CONTAINER}/{self.id()}"
        self.db = self.box.path("app.db")

    def commit(self, rows):
        connection = sqlite3.connect(self.db)
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("CREATE TABLE IF NOT EXISTS t(x)")
        for _ in range(rows):
            with connection:
                connection.execute("INSERT INTO t VALUES(randomblob(1000))")
        connection.close()

    def run_tool(self, *words, env=None):
        return self.box.run([OPTIONS.binary, *words], env=env or environment())

    def must(self, *words, env=None):
        return self.box.must([OPTIONS.binary, *words], env=env or environment())

    def files(self):
        return self.must("ltx", self.url).splitlines()[1:]

    def content(self, path):
        connection = sqlite3.connect(path)
        rows = connection.execute("SELECT count(*), sum(length(x)), max(x) FROM t").fetchone()
        connection.close()
        return rows

    def config(self, name, keys, replica="type: abs"):
        """A configuration file for the database, with keys of its replica."""
        path = self.box.path(name)
        lines = "".join(f"      {key}: \"{value}\"\n" for key, value in keys.items())
        path.write_text(f"dbs:\n  - path: {self.db}\n    replica:\n      {replica}\n{lines}")
        return path

    def keys(self, **more):
        return {"bucket": CONTAINER, "path": self.id(), "endpoint": ENDPOINT, **more}


class AbsTest(AbsCase):
    def replicate(self, rows, env=None):
        """Commits so many rows while it replicates to the URL. What it logged."""
        log = self.box.path("log")
        process = self.box.start([OPTIONS.binary, "replicate", self.db, self.url], log=log,
                                 env=env or environment())
        lab.wait_for("the first file", self.files)
        self.commit(rows)
        self.assertEqual(lab.stop(process), 0)
        return log.read_text()

    def test_replicate_and_restore(self):
        self.commit(10)
        log = self.replicate(20)
        files = self.files()
        self.assertGreaterEqual(len(files), 2)
        restored = self.box.path("restored.db")
        self.must("restore", "-o", restored, self.url)
        self.assertEqual(self.content(restored), self.content(self.db))
        self.must("verify", self.url)
        # From the configuration file, by key and by SAS token, and the key from the environment.
        sas = azurite.make_sas()
        ways = [
            (self.config("key.yml", self.keys(**{"account-key": KEY})), {}),
            (self.config("sas.yml", self.keys(**{"sas-token": sas})), {}),
            (self.config("both.yml", self.keys(**{"sas-token": sas, "account-key": "d3Jvbmc="})),
             {}),
            (self.config("none.yml", self.keys(**{"account-name": ACCOUNT})),
             {"LITESTREAM_AZURE_ACCOUNT_KEY": KEY}),
            (self.config("url.yml", {"endpoint": ENDPOINT}, f"url: {self.url}"),
             {"LITESTREAM_AZURE_SAS_TOKEN": "?" + sas}),
        ]
        for config, more in ways:
            with self.subTest(config.name):
                env = clean_environment(**more)
                found = self.must("ltx", "-config", config, self.db, env=env)
                self.assertEqual(found.splitlines()[1:], files)
        self.assertNotIn(KEY, log)
        self.assertNotIn("level=ERROR", log)
        self.assertNotIn("level=WARN", log)

    def test_another_client_reads_what_we_wrote(self):
        self.commit(10)
        self.replicate(20)
        copy = self.box.path("copy")
        sas_url = f"{ENDPOINT}/{CONTAINER}?{azurite.make_sas()}"
        self.box.must(["rclone", "--config", "/dev/null", "copy",
                       f":azureblob,sas_url=\"{sas_url}\":{CONTAINER}/{self.id()}", copy])
        restored = self.box.path("restored.db")
        self.must("restore", "-o", restored, f"file://{copy}")
        self.assertEqual(self.content(restored), self.content(self.db))
        self.assertEqual(len(lab.replica_files(copy)), len(self.files()))

    def test_the_second_writer_is_kept_away(self):
        self.commit(3)
        process = self.box.start([OPTIONS.binary, "replicate", self.db, self.url],
                                 env=environment())
        lab.wait_for("the first file", self.files)
        other = self.box.path("other.db")
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE t(x)")
        files = self.files()
        log = self.box.path("other.log")
        second = self.box.start([OPTIONS.binary, "replicate", other, self.url], log=log,
                                env=environment())
        lab.wait_for("what the second one says",
                     lambda: "another process has the lease of the replica" in log.read_text())
        self.assertEqual(self.files()[:len(files)], files)
        self.assertNotIn("ltx file uploaded", log.read_text())
        lab.stop(second)
        self.assertEqual(lab.stop(process), 0)

    def test_check(self):
        before = self.files()
        done = self.must("check", "-json", self.url)
        (checked,) = json.loads(done)
        self.assertTrue(checked["usable"])
        self.assertEqual({step["outcome"] for step in checked["steps"]}, {"ok"})
        self.assertEqual(self.files(), before)
        done = self.run_tool("check", f"abs://{ACCOUNT}@missing/x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("create the container", done.stdout)

    def test_what_is_wrong_is_said(self):
        self.commit(1)
        expired = azurite.make_sas(expires="2026-01-01T00:00:00Z")
        weak = azurite.make_sas(permissions="r")
        wrong_key = base64.b64encode(b"another").decode()
        cases = [
            (environment(key=wrong_key), "check that the account-key is that of account"),
            (environment(key="not-base64"), "account-key is not in base64"),
            (environment(endpoint=f"http://127.0.0.1:{free_port()}/{ACCOUNT}"), "127.0.0.1"),
            (dict(environment(), AZURE_STORAGE_CONNECTION_STRING="hush"), "connection string"),
        ]
        for env, word in cases:
            with self.subTest(word):
                done = self.run_tool("ltx", self.url, env=env)
                self.assertEqual(done.returncode, 1)
                self.assertIn(word, done.stderr)
                for secret in (KEY, wrong_key, "hush"):
                    self.assertNotIn(secret, done.stderr + done.stdout)
        for token, word in ((expired, "the SAS token has expired at 2026-01-01T00:00:00Z"),
                            (weak, "sp=rcwdl"), ("https://x/?" + weak, "sas-token is none")):
            with self.subTest(word):
                config = self.config("sas.yml", self.keys(**{"sas-token": token}))
                done = self.run_tool("ltx", "-config", config, self.db, env=clean_environment())
                self.assertEqual(done.returncode, 1)
                self.assertIn(word, done.stderr)
                self.assertNotIn("sig=" + urllib.parse.parse_qs(token)["sig"][0][:8],
                                 done.stderr + done.stdout)
        missing = f"abs://{ACCOUNT}@missing/{self.id()}"
        done = self.run_tool("restore", "-o", self.box.path("x"), missing)
        self.assertEqual(done.returncode, 1)
        self.assertIn("create the container, or correct its name or the account", done.stderr)
        done = self.run_tool("restore", "-o", self.box.path("x"), self.url + "/nothing")
        self.assertEqual(done.returncode, 1)
        self.assertFalse(self.box.path("x").exists())

    def test_a_connection_string_of_another_account_is_not_ours(self):
        env = clean_environment(
            AZURE_STORAGE_CONNECTION_STRING=azurite.connection_string(ENDPOINT),
            AZURE_POD_IDENTITY_AUTHORITY_HOST=f"http://127.0.0.1:{free_port()}")
        done = self.run_tool("ltx", f"abs://another@{CONTAINER}/x", env=env)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no credentials: set account-key or sas-token", done.stderr)

    def test_no_secret_is_shown_and_requests_are_counted(self):
        self.commit(3)
        port = free_port()
        upstream = urllib.parse.urlsplit(ENDPOINT).netloc
        for name, secret in (("account-key", KEY), ("sas-token", azurite.make_sas())):
            with self.subTest(name), chaos_proxy.ChaosProxy(upstream) as proxy:
                keys = self.keys(**{name: secret, "path": f"{self.id()}/{name}",
                                    "endpoint": f"{proxy.endpoint}/{ACCOUNT}"})
                config = self.config(f"{name}.yml", keys)
                config.write_text(f"addr: 127.0.0.1:{port}\nlogging:\n  level: trace\n"
                                  + config.read_text())
                # Requests fail, so that errors are logged as well.
                proxy.plan = lambda request: "503" if request.method == "PUT" else None
                log = self.box.path(f"{name}.log")
                env = clean_environment()
                process = self.box.start([OPTIONS.binary, "replicate", "-config", config], log=log,
                                         env=env)
                lab.wait_for("a refused upload", lambda: proxy.seen["503"] >= 3)
                proxy.plan = lambda request: None
                lab.wait_for("the first file", lambda: len(self.must(
                    "ltx", "-config", config, self.db, env=env).splitlines()) > 1, 60)
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
                shown = [page]
                for words in (("status", "-v"), ("status", "-v", "-json"), ("check",),
                              ("databases",), ("ltx", self.db),
                              ("restore", "-o", self.box.path(f"{name}.db"), self.db)):
                    done = self.run_tool(words[0], "-config", config, *words[1:], env=env)
                    self.assertEqual(done.returncode, 0, (words, done.stdout, done.stderr))
                    shown.append(done.stdout + done.stderr)
                self.assertEqual(lab.stop(process), 0)
                shown.append(log.read_text())
                for text in shown:
                    for hidden in (secret, "sig=", "SharedKey "):
                        self.assertNotIn(hidden, text)
                for operation in ("PUT", "GET", "LIST"):
                    labels = f'{{operation="{operation}",replica_type="abs"}}'
                    other = f'{{replica_type="abs",operation="{operation}"}}'
                    self.assertTrue(labels in page or other in page, page)


class TokenServer:
    """What gives out tokens, as Microsoft Entra ID and the metadata service of a machine do."""

    def __init__(self, **claims):
        self.asked = []
        self.claims = claims
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                outer.asked.append(f"{self.command} {self.path} {body}")
                answer = json.dumps({"access_token": outer.token(), "expires_in": "3600"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self):
        now = int(time.time())
        claims = {"iss": "https://sts.windows.net/tenant/", "aud": "https://storage.azure.com",
                  "iat": now - 60, "nbf": now - 60, "exp": now + 3600, **self.claims}
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
                 for part in ({"alg": "none", "typ": "JWT"}, claims)]
        return ".".join(parts) + "."

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class TokenTest(AbsCase):
    """With tokens, which go over https only."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="litestream-azurite-")
        cls.addClassCleanup(cls.directory.cleanup)
        cls.azurite = azurite.Azurite(cls.directory.name, tls=True)
        cls.addClassCleanup(cls.azurite.stop)
        cls.azurite.start()

    def setUp(self):
        super().setUp()
        self.tokens = TokenServer()
        self.addCleanup(self.tokens.close)
        self.commit(3)
        self.path = self.config("tokens.yml", {
            "bucket": CONTAINER, "path": self.id(), "endpoint": self.azurite.endpoint,
            "ca-file": str(self.azurite.ca_file)})

    def lists(self, **env):
        return self.run_tool("ltx", "-config", self.path, self.db, env=clean_environment(**env))

    def tenant(self, **more):
        return dict(AZURE_TENANT_ID="tenant", AZURE_CLIENT_ID="client",
                    AZURE_AUTHORITY_HOST=self.tokens.url, **more)

    def test_replicate_with_the_identity_of_the_machine(self):
        env = clean_environment(AZURE_POD_IDENTITY_AUTHORITY_HOST=self.tokens.url)
        log = self.box.path("log")
        process = self.box.start([OPTIONS.binary, "replicate", "-config", self.path], log=log,
                                 env=env)
        lab.wait_for("the first file", lambda: len(self.must(
            "ltx", "-config", self.path, self.db, env=env).splitlines()) > 1)
        self.commit(5)
        self.assertEqual(lab.stop(process), 0)
        restored = self.box.path("restored.db")
        self.must("restore", "-config", self.path, "-o", restored, self.db, env=env)
        self.assertEqual(self.content(restored), self.content(self.db))
        self.assertIn("/metadata/identity/oauth2/token?", self.tokens.asked[0])
        self.assertNotIn("level=ERROR", log.read_text())
        self.assertNotIn(self.tokens.token().split(".")[0], log.read_text())

    def test_every_source_of_tokens(self):
        jwt = self.box.path("jwt")
        jwt.write_text("assertion-of-the-cluster\n")
        sources = [
            (self.tenant(AZURE_CLIENT_SECRET="secret"), "client_secret=secret"),
            (self.tenant(AZURE_FEDERATED_TOKEN_FILE=str(jwt)),
             "client_assertion=assertion-of-the-cluster"),
            ({"IDENTITY_ENDPOINT": self.tokens.url + "/msi", "IDENTITY_HEADER": "x"}, "GET /msi?"),
            ({"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.tokens.url}, "GET /metadata/identity/"),
        ]
        for env, asked in sources:
            with self.subTest(asked):
                self.tokens.asked.clear()
                done = self.lists(**env)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(len(self.tokens.asked), 1, "one token for all requests")
                self.assertIn(asked, self.tokens.asked[0])

    def test_a_token_that_is_not_taken(self):
        self.tokens.claims = {"aud": "https://management.azure.com"}
        done = self.lists(**self.tenant(AZURE_CLIENT_SECRET="secret"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("the token was not taken; check the tenant", done.stderr)
        self.assertEqual(len(self.tokens.asked), 2, "another is asked for, once")
        self.assertNotIn(self.tokens.token().split(".")[1][:20], done.stderr)
        self.assertNotIn("secret", done.stderr)

    def test_an_endpoint_without_tls_gets_no_token(self):
        path = self.config("plain.yml", {"bucket": CONTAINER, "endpoint": "http://10.0.0.1/acc"})
        done = self.run_tool("ltx", "-config", path, self.db,
                             env=clean_environment(**self.tenant(AZURE_CLIENT_SECRET="secret")))
        self.assertEqual(done.returncode, 1)
        self.assertIn("https only", done.stderr)
        self.assertEqual(self.tokens.asked, [])


class ChaosTest(chaos_case.ChaosCase):
    secret = KEY

    def setUp(self):
        super().setUp()
        self.url = f"abs://{ACCOUNT}@{CONTAINER}/{self.id()}"

    def upstream(self):
        return urllib.parse.urlsplit(ENDPOINT).netloc

    def environment(self, direct):
        return environment(ENDPOINT if direct else f"{self.proxy.endpoint}/{ACCOUNT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--writer", required=True, type=pathlib.Path)
    OPTIONS, rest = parser.parse_known_args()
    ChaosTest.options = OPTIONS
    unittest.main(argv=[sys.argv[0], *rest])
