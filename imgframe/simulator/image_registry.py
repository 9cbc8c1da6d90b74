"""A registry on loopback that serves generated images over HTTP, for pulls onto simulated nodes.

It serves manifests by tag and digest, and blobs, whole or from an offset; it accepts no pushes.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Self

from imgframe import _loop, digests
from imgframe.simulator.catalogue import TYPES

_OCI = TYPES["oci"]


class ServedBlob(NamedTuple):
    """The bytes of a blob or manifest and their media type."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """The digest of the bytes."""
        return digests.sha256(self.data)


class ImageRegistry:
    """A registry that serves while the ``with`` block lasts.

    ``images`` are ``repository:tag``; images of one repository share all layers but the last, all images share the first.
    ``host`` is host:port, ``references`` are the full names, ``requests`` counts requests (``HEAD manifests``,
    ``GET blobs``, ...), ``sent_bytes`` the bytes of sent blobs. ``hosts_dir`` makes the images available under another name.

    Example:
        >>> from imgframe import simulator
        >>> with simulator.ImageRegistry(["team/api:1.0.0"]) as registry:
        ...     registry.references[0].removeprefix(registry.host)
        '/team/api:1.0.0'
    """

    def __init__(self, images: Iterable[str], *, megabytes: float = 0.2, seed: int = 1) -> None:
        self.images = tuple(images)
        self.requests: Counter[str] = Counter()
        self.sent_bytes = 0
        self.host = ""
        self._megabytes, self._seed = megabytes, seed
        self._manifests: dict[tuple[str, str], ServedBlob] = {}
        self._blobs: dict[str, ServedBlob] = {}
        self._runner: Any = None
        for name in self.images:
            self._add(*name.rsplit(":", 1))

    @property
    def references(self) -> list[str]:
        """The full names of the images."""
        return [f"{self.host}/{name}" for name in self.images]

    def hosts_dir(self, folder: Path, name: str = "registry.example") -> Path:
        """Writes a ``hosts.toml`` for the registry ``name``; pass the folder as ``hosts_dirs=[folder]``."""
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "hosts.toml").write_text(f'server = "http://{self.host}"\n', encoding="utf-8")
        return folder

    def __enter__(self) -> Self:
        _loop.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        _loop.run(self._runner.cleanup())

    async def _start(self) -> None:
        from aiohttp import web

        application = web.Application()
        application.router.add_route("*", "/v2/", self._root)
        application.router.add_route("*", "/v2/{repository:.+}/{kind:manifests|blobs}/{key}", self._serve)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def _root(self, request: Any) -> Any:
        from aiohttp import web

        self.requests[f"{request.method} /v2/"] += 1
        return web.json_response({})

    async def _serve(self, request: Any) -> Any:
        from aiohttp import web

        repository, kind, key = (request.match_info[name] for name in ("repository", "kind", "key"))
        self.requests[f"{request.method} {kind}"] += 1
        found = self._manifests.get((repository, key)) if kind == "manifests" else self._blobs.get(key)
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405)
        if found is None:
            code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
            return web.json_response({"errors": [{"code": code, "message": f"{key} is unknown"}]}, status=404)
        headers = {"Docker-Content-Digest": found.digest, "Accept-Ranges": "bytes"}
        start = request.http_range.start or 0
        part = found.data[start:]
        if kind == "blobs" and request.method == "GET":
            self.sent_bytes += len(part)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(found.data) - 1}/{len(found.data)}"
        return web.Response(
            body=part, status=206 if start else 200, headers=headers, content_type=found.media_type
        )

    def _add(self, repository: str, tag: str) -> None:
        names = ["base", repository, f"{repository}:{tag}"]
        layers = [_layer(f"{self._seed}/{name}", self._megabytes) for name in names]
        children = []
        for architecture in ("amd64", "arm64"):
            config = _json("config", _config(tag, architecture, [plain for _, plain in layers]))
            parts = {"config": _descriptor(config), "layers": [_descriptor(layer) for layer, _ in layers]}
            manifest = _document("manifest", parts)
            children.append(
                _descriptor(manifest) | {"platform": {"os": "linux", "architecture": architecture}}
            )
            self._manifests[repository, manifest.digest] = manifest
            self._blobs |= {one.digest: one for one in (config, *(layer for layer, _ in layers))}
        index = _document("index", {"manifests": children})
        self._manifests[repository, tag] = self._manifests[repository, index.digest] = index


def _config(tag: str, architecture: str, diff_ids: list[str]) -> dict[str, Any]:
    return {
        "created": "2026-01-01T00:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/app"], "Labels": {"org.opencontainers.image.version": tag}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }


@functools.cache
def _layer(identity: str, megabytes: float) -> tuple[ServedBlob, str]:
    """A layer with one file of incompressible bytes, and the digest of its tar."""
    data = Random(identity).randbytes(int(megabytes * 1e6))  # noqa: S311 -- made-up content, the same on every run
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(hashlib.sha256(identity.encode()).hexdigest()[:12])
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    plain = packed.getvalue()
    squeezed = gzip.compress(plain, compresslevel=1, mtime=0)
    return ServedBlob(squeezed, _OCI["layer"]), digests.sha256(plain)


def _descriptor(blob: ServedBlob) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": len(blob.data)}


def _json(kind: str, value: dict[str, Any]) -> ServedBlob:
    return ServedBlob(json.dumps(value, separators=(",", ":")).encode(), _OCI[kind])


def _document(kind: str, parts: dict[str, Any]) -> ServedBlob:
    return _json(kind, {"schemaVersion": 2, "mediaType": _OCI[kind], **parts})
