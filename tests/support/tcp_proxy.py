#!/usr/bin/env python3
"""A proxy in front of any TCP server, that does what networks do.

    with TcpProxy(("127.0.0.1", 22), every(3)) as proxy: ...   # proxy.port

`plan` is asked about each connection (its number, from 1) and returns a Trouble, or None. What
happened is in proxy.seen. A plan may be changed at any time, for connections that come then; cut()
ends those that are there, freeze() lets nothing more through on them.
"""
import collections
import dataclasses
import select
import socket
import struct
import threading
import time

CHUNK = 64 * 1024
KINDS = ("cut", "reset", "half-open", "refuse", "slow", "latency", "cut-answer")


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What happens to a connection; 0: that does not."""
    kind: str = ""           # For proxy.seen.
    latency: float = 0       # Seconds, each way.
    bandwidth: int = 0       # Bytes a second, each way.
    end_after: int = 0       # Bytes, both ways together; then as `end` says.
    end_after_answer: int = 0  # Bytes of the server's.
    end: str = "cut"         # cut, reset, half-open


def trouble(kind, after=200_000):
    """One of KINDS, as a network would have it. `after` bytes."""
    return {"cut": Trouble(kind, end_after=after),
            "cut-answer": Trouble(kind, end_after_answer=after),
            "reset": Trouble(kind, end_after=after, end="reset"),
            "half-open": Trouble(kind, end_after=after, end="half-open"),
            "refuse": Trouble(kind, end_after=1, end="reset"),
            "slow": Trouble(kind, bandwidth=2_000_000),
            "latency": Trouble(kind, latency=0.02)}[kind]


def each(kinds=KINDS, first=1_000, step=37_000):
    """A plan: one kind after the other, each time a bit later in the connection."""
    def plan(number):
        return trouble(kinds[number % len(kinds)], first + step * (number // len(kinds)))
    return plan


class TcpProxy:
    def __init__(self, upstream, plan=lambda number: None):
        self.upstream = upstream
        self.plan = plan
        self.seen = collections.Counter()
        self.connections = 0
        self._links = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._listener.close()
        self.cut()

    def cut(self):
        with self._lock:
            links = list(self._links)
        for link in links:
            link.end("cut")

    def freeze(self):
        with self._lock:
            for link in self._links:
                link.frozen.set()

    def open_connections(self):
        with self._lock:
            return len(self._links)

    def _accept(self):
        while not self._stopped.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            link = Link(self, client, self.plan(self.connections) or Trouble())
            threading.Thread(target=link.run, daemon=True).start()

    def note(self, kind):
        with self._lock:
            self.seen[kind] += 1

    def enter(self, link):
        with self._lock:
            self._links.add(link)

    def leave(self, link):
        with self._lock:
            self._links.discard(link)


class Link:
    """One connection through the proxy."""

    def __init__(self, proxy, client, what):
        self.proxy = proxy
        self.client = client
        self.what = what
        self.server = None
        self.passed = 0
        self.answered = 0
        self.ended = threading.Event()
        self.frozen = threading.Event()
        self.lock = threading.Lock()

    def run(self):
        self.proxy.enter(self)
        try:
            self.server = socket.create_connection(self.proxy.upstream, timeout=30)
            self.server.settimeout(None)
            for sock in (self.client, self.server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pump, args=(self.server, self.client, True),
                                    daemon=True)
            back.start()
            self._pump(self.client, self.server, False)
            back.join()
        except OSError:
            pass
        finally:
            self.proxy.leave(self)
            if self.passed and (self.what.latency or self.what.bandwidth):
                self.proxy.note(self.what.kind)
            for sock in (self.client, self.server):
                if sock is not None:
                    sock.close()

    def _pump(self, source, target, answers):
        """Passes on, each piece when its time has come."""
        waiting = collections.deque()  # (time, data)
        ended = False
        free_at = 0.0
        try:
            while not self.ended.is_set() and not (ended and not waiting):
                now = time.monotonic()
                timeout = max(0.0, waiting[0][0] - now) if waiting else 0.2
                # Not more than a second of what may pass is taken in.
                room = not ended and len(waiting) < 256
                ready = select.select([source], [], [], timeout)[0] if room else None
                if ready is None:
                    time.sleep(min(timeout, 0.2))
                if ready:
                    data = source.recv(CHUNK)
                    if not data:
                        ended = True
                    else:
                        at = time.monotonic() + self.what.latency
                        if self.what.bandwidth:
                            free_at = max(at, free_at) + len(data) / self.what.bandwidth
                            at = free_at
                        waiting.append((at, data))
                while waiting and waiting[0][0] <= time.monotonic():
                    if not self._pass(target, waiting.popleft()[1], answers):
                        return
            if ended and not self.ended.is_set():
                target.shutdown(socket.SHUT_WR)
        except OSError:
            self.end("cut")

    def _pass(self, target, data, answers):
        if self.frozen.is_set():
            return True
        limit = None
        with self.lock:
            if self.what.end_after:
                limit = max(0, self.what.end_after - self.passed)
            if answers and self.what.end_after_answer:
                limit = max(0, self.what.end_after_answer - self.answered)
            piece = data if limit is None else data[:limit]
            self.passed += len(piece)
            if answers:
                self.answered += len(piece)
        target.sendall(piece)
        if limit is None or len(data) < limit:
            return True
        if self.what.kind:
            self.proxy.note(self.what.kind)
        if self.what.end == "half-open":
            self.frozen.set()
            return True
        self.end(self.what.end)
        return False

    def end(self, how):
        self.ended.set()
        for sock in (self.client, self.server):
            if sock is None:
                continue
            try:
                if how == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()
                else:
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
