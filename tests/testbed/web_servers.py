"""Web servers of the tests on loopback: a token server, and a proxy before a registry that misbehaves on demand."""

import base64
import http.client
import json
import re
import ssl
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

from testbed.certificates import Signer

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}


class Request(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that give up are what some tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Server:
    """A threaded HTTP server on loopback; `host`, `url`, and every request that came in."""

    def __init__(self, *, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._http = _Quiet((address, 0), _handler(self))
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.host = f"{address}:{self._http.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Lets go of requests that hang, and ends."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)

    def answer(self, request: Request, handler: BaseHTTPRequestHandler) -> None:
        """Writes the answer."""
        raise NotImplementedError

    def takes_no_body(self, _method: str, _path: str) -> bool:
        """Whether the body of this request is left unread until the server stops."""
        return False


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = default_request_version = "HTTP/1.1"  # also to what is not HTTP

        def handle_one(self) -> None:
            if server.takes_no_body(self.command, self.path):
                server.closing.wait()
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            server.requests.append(request)
            try:
                server.answer(request, self)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    return Handler


def send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes = b"") -> None:
    """A whole answer; its Content-Length is the body's unless the headers say otherwise."""
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


@dataclass
class Fault:
    """What happens to requests whose "METHOD path" matches, as many times as said (-1: always).

    One of: `status` with `headers` and `body`; `cut` (the connection ends after so many bytes of the body); `corrupt`
    (one byte of the body differs); `digest` (another Docker-Content-Digest); `redirect` (307 to that server, same path);
    `hang` (no answer until the server stops or `release` is set; then none, or with `late` the right one); `stall` (after
    so many bytes of the body nothing more comes, and the connection stays); `deaf` (the request's body is not read).
    `struck` is set when the first request comes.
    """

    match: str
    times: int = -1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    cut: int | None = None
    corrupt: bool = False
    digest: str = ""
    redirect: str = ""
    hang: bool = False
    late: bool = False
    stall: int | None = None
    deaf: bool = False
    struck: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    hits: int = 0


class FaultyProxy(Server):
    """Passes requests on to a registry, but for the faults in `faults`; the first that matches counts."""

    def __init__(
        self, upstream: str, *, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.upstream = upstream
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        super().__init__(address=address, tls=tls)

    def add(self, match: str, **fault: object) -> Fault:
        """Another fault."""
        self.faults.append(Fault(match, **fault))
        return self.faults[-1]

    def clear(self) -> None:
        """No faults and no remembered requests."""
        self.faults.clear()
        self.requests.clear()

    def _fault(self, method: str, path: str, *, deaf: bool = False) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.deaf is deaf and fault.times and re.search(fault.match, f"{method} {path}"):
                    fault.times -= 1
                    fault.hits += 1
                    fault.struck.set()
                    return fault
        return None

    def takes_no_body(self, method: str, path: str) -> bool:
        return self._fault(method, path, deaf=True) is not None

    def _wait(self, fault: Fault) -> None:
        while not (self.closing.is_set() or fault.release.wait(0.05)):
            pass

    def answer(self, request: Request, handler: BaseHTTPRequestHandler) -> None:
        fault = self._fault(request.method, request.path)
        if fault is not None and fault.hang:
            self._wait(fault)
        if fault is not None and fault.hang and not fault.late:
            handler.close_connection = True
        elif fault is not None and fault.redirect:
            send(handler, 307, {"Location": fault.redirect + request.path})
        elif fault is not None and fault.status:
            send(handler, fault.status, fault.headers, fault.body)
        else:
            status, headers, body = self._forward(request)
            self._spoil(fault, handler, status, headers, body)

    def _forward(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
            connection.request(request.method, request.path, body=request.body or None, headers=headers)
            answer = connection.getresponse()
            try:
                body = answer.read()
            except http.client.IncompleteRead as error:  # docker-registry, of a range that is not there
                body = error.partial
                del answer.headers["Content-Length"]
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in HOP_BY_HOP - {"content-length"}
            }
            if "Location" in kept:  # uploads go on through us
                kept["Location"] = kept["Location"].replace(f"http://{self.upstream}", self.url)
            return answer.status, kept, body
        finally:
            connection.close()

    def _spoil(
        self,
        fault: Fault | None,
        handler: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes,
    ) -> None:
        if fault is not None and fault.digest:
            headers["Docker-Content-Digest"] = fault.digest
        if fault is not None and fault.corrupt and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        given = None if fault is None else fault.cut if fault.stall is None else fault.stall
        if fault is None or given is None:
            send(handler, status, headers, body)
            return
        send(handler, status, headers | {"Content-Length": str(len(body))}, body[:given])
        handler.wfile.flush()
        if fault.stall is not None:
            self._wait(fault)
        handler.close_connection = True


class TokenServer(Server):
    """Gives registry tokens as the distribution specification describes: GET with basic auth, POST with OAuth 2.

    Anyone may pull where `anonymous` is true; `users` may do all. A user's identity token is "identity-of-<user>".
    """

    service = "imgframe test registry"
    issuer = "imgframe test tokens"

    def __init__(
        self,
        signer: Signer,
        users: dict[str, str],
        *,
        anonymous: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.signer = signer
        self.users = users
        self.anonymous = anonymous
        self.clock = clock
        super().__init__()
        self.realm = f"{self.url}/token"

    def answer(self, request: Request, handler: BaseHTTPRequestHandler) -> None:
        query = urllib.parse.urlsplit(request.path).query
        asked = urllib.parse.parse_qs(request.body.decode() if request.method == "POST" else query)
        user = self._oauth_user(asked) if request.method == "POST" else self._basic_user(request)
        if user is None or (not user and not self.anonymous):
            send(handler, 401, {"Content-Type": "application/json"}, b'{"details": "no such user"}')
            return
        scopes = [scope for text in asked.get("scope", []) for scope in text.split(" ")]
        token = self.signer.sign(
            self._claims(user, [self._granted(scope, user) for scope in scopes if scope])
        )
        answer = {"token": token, "access_token": token, "expires_in": 300}
        if user and ("offline_token" in asked or asked.get("access_type") == ["offline"]):
            answer["refresh_token"] = f"identity-of-{user}"
        send(handler, 200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _basic_user(self, request: Request) -> str | None:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return ""
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user if self.users.get(user) == password else None

    def _oauth_user(self, asked: dict[str, list[str]]) -> str | None:
        if asked.get("grant_type") == ["refresh_token"]:
            user = asked.get("refresh_token", [""])[0].removeprefix("identity-of-")
            return user if user in self.users else None
        user = asked.get("username", [""])[0]
        return user if user in self.users and asked.get("password") == [self.users[user]] else None

    @staticmethod
    def _granted(scope: str, user: str) -> dict:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed = [one for one in actions.split(",") if user or one == "pull"]
        return {"type": kind, "name": name, "actions": allowed}

    def _claims(self, user: str, access: list[dict]) -> dict:
        now = int(self.clock())
        times = {"iat": now, "nbf": now - 10, "exp": now + 300}
        return {
            "iss": self.issuer,
            "sub": user,
            "aud": self.service,
            "jti": str(now),
            "access": access,
            **times,
        }
