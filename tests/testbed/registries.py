"""Debian's docker-registry on loopback, filled with our own images over its own HTTP API."""

import http.client
import json
import queue
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Self

from testbed import debian
from testbed.certificates import Authority
from testbed.daemons import home
from testbed.images import Image
from testbed.web_servers import TokenServer

START_SECONDS = 150.0


class Registry:
    """A docker-registry with its own folder; `host` is host:port, `url` has the scheme too.

    `config` is merged over the registry's own settings, section by section.
    """

    def __init__(
        self, *, config: dict | None = None, scheme: str = "http", trust: ssl.SSLContext | None = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="imgr-", dir=home()))
        settings = {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": "127.0.0.1:0", "secret": "loopback only"},
        }
        for section, values in (config or {}).items():
            settings[section] = settings.get(section, {}) | values
        (self.folder / "config.yml").write_text(json.dumps(settings))  # JSON is YAML
        self.trust = trust
        self.headers: dict[str, str] = {}
        self._lines: list[str] = []
        self._port: queue.Queue[str] = queue.Queue()
        serve = [debian.program("docker-registry"), "serve", str(self.folder / "config.yml")]
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *serve],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=debian.environment(),
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            self.host = f"127.0.0.1:{self._port.get(timeout=START_SECONDS)}"
        except queue.Empty:
            self.stop()
            raise AssertionError(f"docker-registry does not listen:\n{self.log_text()}") from None
        self.url = f"{scheme}://{self.host}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            if found := re.search(r"listening on \S+:(\d+)", line):
                self._port.put(found[1])

    def shared_settings(self) -> dict:
        """Settings of another registry over the same store."""
        return {"storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}}}

    def log_text(self) -> str:
        """What the registry wrote, its access log among it."""
        return "".join(self._lines)

    def stop(self) -> None:
        """Ends the registry and removes its store."""
        self.process.kill()
        self.process.wait(20)
        self._reader.join(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def push(self, repository: str, tag: str, image: Image) -> None:
        """Uploads an image with everything it reaches, children before the documents that name them."""
        with self._connection() as connection:
            self._push(connection, repository, image)
            self._put_manifest(connection, repository, tag, image)

    def _connection(self) -> "_Connection":
        return _Connection(self.host, self.trust, self.headers)

    def _push(self, connection: "_Connection", repository: str, image: Image) -> None:
        for child in image.children:
            self._push(connection, repository, child)
            self._put_manifest(connection, repository, child.digest, child)
        if image.children:
            return
        document = image.document
        for digest in dict.fromkeys(one["digest"] for one in (document["config"], *document["layers"])):
            start = connection.ask("POST", f"/v2/{repository}/blobs/uploads/", b"", 202)
            place = start["Location"].partition(self.host)[2]
            connection.ask("PUT", f"{place}&digest={digest}", image.blobs[digest], 201)

    def _put_manifest(self, connection: "_Connection", repository: str, reference: str, image: Image) -> None:
        media_type = image.descriptor["mediaType"]
        path = f"/v2/{repository}/manifests/{reference}"
        connection.ask("PUT", path, image.blobs[image.digest], 201, {"Content-Type": media_type})


class _Connection:
    def __init__(self, host: str, trust: ssl.SSLContext | None, headers: dict[str, str]) -> None:
        self.headers = headers
        self.http = (
            http.client.HTTPSConnection(host, context=trust, timeout=120)
            if trust is not None
            else http.client.HTTPConnection(host, timeout=120)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(
        self, method: str, path: str, body: bytes, status: int, headers: dict[str, str] | None = None
    ) -> dict:
        self.http.request(method, path, body=body, headers={**self.headers, **(headers or {})})
        answer = self.http.getresponse()
        text = answer.read()
        assert answer.status == status, (method, path, answer.status, text)
        return dict(answer.headers)


def write_hosts(folder: Path, servers: dict[str, str], **settings: object) -> Path:
    """A hosts directory that sends each registry name to a server on loopback; the folder given."""
    for name, url in servers.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        lines = [f'[host."{url}"]', 'capabilities = ["pull", "resolve", "push"]']
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        (folder / name / "hosts.toml").write_text("\n".join(lines) + "\n")
    return folder


USER = "user"
SECRET = "marker-of-a-secret"  # searched for in everything that the tests print
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuYjRGHppkbD8/pX5YhN/Nd5D18MLtCry\n"


def tls_settings(authority: Authority) -> dict:
    """Settings of a registry that speaks HTTPS with a certificate of this authority."""
    certificate, key = authority.issue("registry")
    return {"http": {"tls": {"certificate": str(certificate), "key": str(key)}}}


def basic_settings(folder: Path) -> dict:
    """Settings of a registry that knows one user, USER with SECRET."""
    file = folder / "htpasswd"
    file.write_text(_HTPASSWD)
    return {"auth": {"htpasswd": {"realm": "loopback", "path": str(file)}}}


def token_settings(server: TokenServer, authority: Authority) -> dict:
    """Settings of a registry that sends its clients to a token server."""
    names = {"realm": server.realm, "service": server.service, "issuer": server.issuer}
    return {"auth": {"token": {**names, "rootcertbundle": str(authority.ca)}}}
