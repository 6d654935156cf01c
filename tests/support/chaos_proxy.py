"""A proxy in front of an HTTP server, that does what networks and servers do.

    with ChaosProxy("127.0.0.1:9000", every(3)) as proxy: ...   # proxy.endpoint

`plan` is asked about each request (a Request) and names the trouble for it, or None. What happened
is in proxy.seen. Troubles:
  latency, bandwidth     the answer comes late, or slowly
  trickle                its first bytes one by one
  cut-request            the connection ends in the middle of the request
  reset, reset-done      it is reset: before the request reaches the server, or with the work done
  half-open              nothing comes, and the connection stays
  429, 503               the server is too busy; with "-after" it says when to come again
  500-done               an error, although the work was done
  cut                    the answer ends in the middle
  too-long, too-short    its length is wrong
  flip, flip-request     a byte in the middle is another one
  stale-list             a list as it was before
"""
import collections
import dataclasses
import http.client
import itertools
import socket
import socketserver
import struct
import threading
import time

ANY = ("latency", "cut-request", "reset", "reset-done", "429", "429-after", "503", "503-after",
       "500-done", "trickle", "bandwidth", "half-open")
ANSWERS = ("cut", "too-long", "too-short")  # For those that have a body.
HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive"}


@dataclasses.dataclass
class Request:
    method: str
    target: str
    headers: list
    body: bytes

    def is_list(self):
        """Of S3, Azure, Google Cloud Storage, WebDAV."""
        return ("list-type=" in self.target or "comp=list&" in self.target
                or (self.method == "GET" and "/o?" in self.target) or self.method == "PROPFIND")

    def reads_object(self):
        return self.method == "GET" and ("?" not in self.target or "alt=media" in self.target)

    def troubles(self):
        """Those that can happen to it."""
        fitting = ANY + (ANSWERS if self.method in ("GET", "PROPFIND") else ())
        if self.reads_object():
            fitting += ("flip",)
        if self.is_list():  # There are few of them.
            fitting = ("stale-list", *fitting)
        if self.body:
            fitting += ("flip-request",)
        return fitting


def every(number, leave_out=()):
    """A plan: each `number`th request gets what has happened least often of what can happen to it.
    The same requests in the same order get the same."""
    counts, had, lock = itertools.count(1), collections.Counter(), threading.Lock()

    def plan(request):
        with lock:
            if next(counts) % number:
                return None
            fitting = [name for name in request.troubles() if name not in leave_out]
            chosen = min(fitting, key=lambda name: (had[name], fitting.index(name)))
            had[chosen] += 1
            return chosen
    return plan


class ChaosProxy:
    def __init__(self, upstream, plan=lambda request: None):
        self.upstream = upstream
        self.plan = plan
        self.seen = collections.Counter()
        self._lists = {}
        self._lock = threading.Lock()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                Connection(proxy, self.request).serve()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 512

        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def note(self, trouble):
        with self._lock:
            self.seen[trouble] += 1

    def list_before(self, target, answer):
        """What was answered before, and keeps the new answer; the new one if there is none."""
        with self._lock:
            before = self._lists.get(target, answer)
            self._lists[target] = answer
            return before


class Connection:
    def __init__(self, proxy, sock):
        self.proxy = proxy
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upstream = http.client.HTTPConnection(proxy.upstream, timeout=60)
        self.buffer = b""

    def serve(self):
        try:
            while self._one():
                pass
        except OSError:
            pass  # Who asked has gone.
        finally:
            self.upstream.close()
            self.sock.close()

    def _fill(self):
        data = self.sock.recv(1 << 16)
        self.buffer += data
        return bool(data)

    def _read_request(self):
        while b"\r\n\r\n" not in self.buffer:
            if not self._fill():
                return None
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [line.split(": ", 1) if ": " in line else [line.rstrip(":"), ""]
                   for line in lines]
        length = int(next((value for name, value in headers if name.lower() == "content-length"),
                          0))
        while len(self.buffer) < length:
            if not self._fill():
                return None
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Request(method, target, headers, body)

    def _forward(self, request, body):
        """(status, headers, body) of the server."""
        self.upstream.putrequest(request.method, request.target, skip_host=True,
                                 skip_accept_encoding=True)
        for name, value in request.headers:
            if name.lower() not in HOP_BY_HOP:
                self.upstream.putheader(name, value)
        if body or request.method in ("PUT", "POST"):
            self.upstream.putheader("Content-Length", str(len(body)))
        self.upstream.endheaders(body or None)
        answer = self.upstream.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def _one(self):
        """One request; whether the connection goes on."""
        request = self._read_request()
        if request is None:
            return False
        trouble = self.proxy.plan(request)
        if trouble:
            self.proxy.note(trouble)
        if trouble in ("reset", "cut-request"):
            self._end(hard=trouble == "reset")
            return False
        if trouble == "half-open":
            while self._fill():
                self.buffer = b""
            return False
        if trouble and trouble[:3] in ("429", "503"):
            after = ["Retry-After: 1"] if trouble.endswith("-after") else []
            self._send(request, int(trouble[:3]), after, b"")
            return True
        body = _flipped(request.body) if trouble == "flip-request" else request.body
        status, headers, content = self._forward(request, body)
        return self._answer(request, trouble, status, headers, content)

    def _answer(self, request, trouble, status, headers, content):
        if request.is_list() and status in (200, 207):
            before = self.proxy.list_before(request.target, content)
            if trouble == "stale-list":
                content = before
        lines = [f"{name}: {value}" for name, value in headers if name.lower() not in HOP_BY_HOP]
        if request.method == "HEAD":
            lines += [f"{name}: {value}" for name, value in headers
                      if name.lower() == "content-length"]
        if trouble == "reset-done":
            self._end(hard=True)
            return False
        if trouble == "500-done":
            self._send(request, 500, [], b"")
            return True
        if trouble == "flip" and status in (200, 206):
            content = _flipped(content)
        if trouble == "latency":
            time.sleep(0.05)
        if trouble in ANSWERS and len(content) > 1:
            half = content[:len(content) // 2]
            claimed = {"cut": len(content), "too-long": len(content) + 7,
                       "too-short": len(half)}[trouble]
            self._send(request, status, lines, half if trouble != "too-long" else content, claimed)
            self._end()
            return False
        self._send(request, status, lines, content, pace=trouble)
        return True

    def _send(self, request, status, lines, content, claimed=None, pace=None):
        if request.method != "HEAD":
            lines = [*lines, f"Content-Length: {len(content) if claimed is None else claimed}"]
        head = "\r\n".join([f"HTTP/1.1 {status} x", *lines, "", ""]).encode("latin-1")
        data = head if request.method == "HEAD" else head + content
        if pace == "trickle":
            for i in range(min(100, len(data))):
                self.sock.sendall(data[i:i + 1])
                time.sleep(0.002)
            data = data[100:]
        while pace == "bandwidth" and data:
            self.sock.sendall(data[:1 << 14])
            data = data[1 << 14:]
            time.sleep(0.005)
        self.sock.sendall(data)

    def _end(self, hard=False):
        if hard:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _flipped(content):
    if not content:
        return content
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1:]
