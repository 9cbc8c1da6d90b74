"""Runs the measured resolves against a scripted server, in a network namespace of its own: `unshare --net` python FILE.

Prints one JSON object per case: what was requested, in order, and the digest or the error.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from imgframe.errors import RegistryError
from imgframe.registry import Registry
from testbed.certificates import Authority

FOREIGN = "192.0.2.2"
HTTP, TLS = 5161, 5162
TLS_GREETING = b"\x16"


class Script:
    """The rules of the case that runs now, and what was asked so far."""

    def __init__(self) -> None:
        self.begin([])

    def begin(self, rules: list[dict]) -> None:
        self.rules = [dict(rule) for rule in rules]
        self.requests: list[dict] = []

    def rule_for(self, method: str, path: str, authorization: str | None) -> dict:
        for rule in self.rules:
            if rule.get("method", method) != method or rule["path"] not in {"*", path.partition("?")[0]}:
                continue
            if rule.get("times") == 0 or not fits(rule, authorization):
                continue
            if "times" in rule:
                rule["times"] -= 1
            return rule
        return {"status": 404}


def fits(rule: dict, authorization: str | None) -> bool:
    if "auth" not in rule:
        return True
    if rule["auth"] is None:
        return authorization is None
    return (authorization or "").startswith(rule["auth"])


def handler_class(
    script: Script, scheme: str, wrapping: ssl.SSLContext | None
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            greets = self.request.recv(1, socket.MSG_PEEK) == TLS_GREETING
            if wrapping is None and greets:  # neither TLS nor HTTP
                self.request.sendall(b"<!DOCTYPE HTML>")
                raise ConnectionError
            if wrapping is not None:
                if not greets:
                    self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.request.close()
                    raise ConnectionError
                self.request = wrapping.wrap_socket(self.request, server_side=True)
            super().setup()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            headers = {
                name: value
                for name, value in self.headers.items()
                if name not in {"Host", "Content-Length", "Connection", "Accept-Encoding", "User-Agent"}
            }
            script.requests.append(
                {
                    "method": self.command,
                    "url": f"{scheme}://{self.headers['Host']}{self.path}",
                    "headers": headers,
                    "body": body,
                    "agent": self.headers.get("User-Agent"),
                }
            )
            self.follow(script.rule_for(self.command, self.path, self.headers.get("Authorization")))

        def follow(self, rule: dict) -> None:
            body = rule.get("body", "").encode()
            self.send_response(rule["status"])
            for name, value in rule.get("headers", {}).items():
                self.send_header(name, value)
            if rule.get("no_length"):
                self.send_header("Connection", "close")
            elif rule["status"] not in {204, 304}:
                self.send_header("Content-Length", str(rule.get("length", len(body))))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = answer

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Broken connections are what some cases are about."""


async def resolve(case: dict, folder: Path) -> dict:
    """The outcome of one case."""
    config = folder / "cfg" / "config.json"
    config.parent.mkdir()
    if case["docker_config"] is not None:
        given = case["docker_config"]
        config.write_text(given if isinstance(given, str) else json.dumps(given))
    roots = []
    for place, root in enumerate(case["hosts_dirs"]):
        roots.append(folder / f"root{place}")
        for name, files in root.items():
            (roots[-1] / name).mkdir(parents=True)
            for file, text in files.items():
                (roots[-1] / name / file).write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        registry = Registry(hosts_dirs=roots, insecure=case["insecure"], docker_config=config, timeout=20)
    async with registry:
        try:
            return {"digest": (await registry.image(case["reference"]).resolve()).digest, "error": None}
        except RegistryError as error:
            return {
                "digest": None,
                "error": error.go.replace(f"{folder}/", ""),
                "message": str(error),
                "kind": type(error).__name__,
            }


def main(vectors: str) -> None:
    """All cases of the file."""
    for command in ("link set lo up", f"addr add {FOREIGN}/32 dev lo"):
        subprocess.run(["ip", *command.split()], check=True)
    script = Script()
    with tempfile.TemporaryDirectory() as text, contextlib.ExitStack() as stack:
        folder = Path(text)
        unknown = Authority(folder / "authority").server_context()
        for scheme, port, context in (("http", HTTP, None), ("https", TLS, unknown)):
            server = stack.enter_context(Server(("0.0.0.0", port), handler_class(script, scheme, context)))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        for line in Path(vectors).read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            script.begin(case["server_rules"])
            with tempfile.TemporaryDirectory() as place:
                outcome = asyncio.run(resolve(case, Path(place)))
            print(json.dumps({"id": case["id"], "requests": script.requests, **outcome}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
