"""Container images made by the tests themselves, byte for byte the same on every run: layers, manifests, indexes."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
TYPES = {
    False: {
        "index": f"{OCI}index.v1+json",
        "manifest": f"{OCI}manifest.v1+json",
        "config": f"{OCI}config.v1+json",
        "plain": f"{OCI}layer.v1.tar",
        "gzip": f"{OCI}layer.v1.tar+gzip",
        "zstd": f"{OCI}layer.v1.tar+zstd",
    },
    True: {
        "index": f"{DOCKER}distribution.manifest.list.v2+json",
        "manifest": f"{DOCKER}distribution.manifest.v2+json",
        "config": f"{DOCKER}container.image.v1+json",
        "plain": f"{DOCKER}image.rootfs.diff.tar",
        "gzip": f"{DOCKER}image.rootfs.diff.tar.gzip",
        "zstd": f"{DOCKER}image.rootfs.diff.tar.zstd",
    },
}
NAME = "io.containerd.image.name"

Entry = tuple[tarfile.TarInfo, bytes]


def digest_of(data: bytes) -> str:
    """The sha256 digest of bytes, as descriptors write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def file(path: str, data: bytes = b"", mode: int = 0o644) -> Entry:
    """A regular file."""
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(data), mode
    return info, data


def folder(path: str) -> Entry:
    """A directory."""
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info, b""


def link(path: str, target: str, *, hard: bool = False) -> Entry:
    """A symbolic or hard link."""
    info = tarfile.TarInfo(path)
    info.type, info.linkname = (tarfile.LNKTYPE if hard else tarfile.SYMTYPE), target
    return info, b""


def whiteout(path: str) -> Entry:
    """The mark that removes a path of the layers below; `folder/.wh..opq` empties a folder."""
    parent, _, name = path.rpartition("/")
    return file(f"{parent}/{name if name.startswith('.wh.') else f'.wh.{name}'}".lstrip("/"))


@dataclass(frozen=True)
class Layer:
    """Compressed bytes of a layer and the digest of its tar."""

    data: bytes
    diff_id: str
    compression: str

    @property
    def digest(self) -> str:
        """Digest of the compressed bytes."""
        return digest_of(self.data)


def layer(entries: Iterable[Entry], compression: str = "gzip") -> Layer:
    """A layer of these entries; compression is plain, gzip or zstd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    plain = buffer.getvalue()
    pack = {
        "plain": bytes,
        "gzip": lambda data: gzip.compress(data, 1, mtime=0),
        "zstd": zstandard.ZstdCompressor(level=1).compress,
    }[compression]
    return Layer(pack(plain), digest_of(plain), compression)


@dataclass(frozen=True)
class Image:
    """A descriptor and all blobs reachable from it; `layers` of one platform's image, `children` of an index."""

    descriptor: dict
    blobs: dict[str, bytes] = field(repr=False)
    layers: tuple[Layer, ...] = field(default=(), repr=False)
    children: tuple["Image", ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """The digest of the root document."""
        return self.descriptor["digest"]

    @property
    def document(self) -> dict:
        """The root document."""
        return json.loads(self.blobs[self.digest])

    @property
    def config(self) -> dict:
        """The config of one platform's image."""
        return json.loads(self.blobs[self.document["config"]["digest"]])

    def without(self, *digests: str) -> "Image":
        """The same image with blobs missing."""
        kept = {digest: data for digest, data in self.blobs.items() if digest not in digests}
        return Image(self.descriptor, kept, self.layers, self.children)


def _dump(document: dict) -> bytes:
    return json.dumps(document, indent=1).encode()


def _descriptor(media_type: str, data: bytes, **more: object) -> dict:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def image(
    layers: Sequence[Layer],
    *,
    platform: str = "linux/amd64",
    docker: bool = False,
    labels: dict[str, str] | None = None,
    created: str | None = "2024-05-06T07:08:09.123456789Z",
    config: dict | None = None,
    annotations: dict[str, str] | None = None,
) -> Image:
    """One platform's image: manifest, config and layers. `config` is merged over the runtime part (Env, Cmd, …)."""
    types = TYPES[docker]
    system, architecture, *variant = platform.split("/")
    where = {"architecture": architecture, "os": system} | ({"variant": variant[0]} if variant else {})
    document = where | {
        "config": {
            "Env": ["PATH=/bin"],
            "Cmd": ["/bin/hello"],
            **({"Labels": labels} if labels else {}),
            **(config or {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        "history": [{"created_by": f"COPY layer {number}"} for number, _ in enumerate(layers)]
        + [{"created_by": "CMD hello", "empty_layer": True}],
    }
    if created is not None:
        document["created"] = created
    config_data = _dump(document)
    manifest = {
        "schemaVersion": 2,
        "mediaType": types["manifest"],
        "config": _descriptor(types["config"], config_data),
    }
    manifest["layers"] = [_descriptor(types[one.compression], one.data) for one in layers]
    if annotations:
        manifest["annotations"] = annotations
    data = _dump(manifest)
    blobs = {digest_of(data): data, digest_of(config_data): config_data} | {
        one.digest: one.data for one in layers
    }
    return Image(_descriptor(types["manifest"], data, platform=where), blobs, tuple(layers))


def index(
    children: Sequence[Image], *, docker: bool = False, annotations: dict[str, str] | None = None
) -> Image:
    """An index of images, of attestations, or of other indexes."""
    document = {
        "schemaVersion": 2,
        "mediaType": TYPES[docker]["index"],
        "manifests": [one.descriptor for one in children],
    }
    if annotations:
        document["annotations"] = annotations
    data = _dump(document)
    blobs = {digest_of(data): data}
    for one in children:
        blobs |= one.blobs
    return Image(_descriptor(TYPES[docker]["index"], data), blobs, (), tuple(children))


def attestation(of: Image) -> Image:
    """The provenance that BuildKit puts beside an image, with its platform unknown/unknown."""
    statement = _dump({"_type": "https://in-toto.io/Statement/v0.1", "subject": [{"digest": of.digest}]})
    config = _dump(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(statement)]},
        }
    )
    predicate = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    manifest = {
        "schemaVersion": 2,
        "mediaType": TYPES[False]["manifest"],
        "config": _descriptor(TYPES[False]["config"], config),
        "layers": [_descriptor("application/vnd.in-toto+json", statement, annotations=predicate)],
    }
    data = _dump(manifest)
    where = {"architecture": "unknown", "os": "unknown"}
    marks = {"vnd.docker.reference.digest": of.digest, "vnd.docker.reference.type": "attestation-manifest"}
    descriptor = _descriptor(TYPES[False]["manifest"], data, annotations=marks, platform=where)
    return Image(descriptor, {digest_of(one): one for one in (data, config, statement)})


def chain_ids(one: Image) -> list[str]:
    """Chain IDs of a platform's image, computed here from the rule in the image specification."""
    chain: list[str] = []
    for diff_id in one.config["rootfs"]["diff_ids"]:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


def write_archive(path: Path, named: Iterable[tuple[str, Image]]) -> None:
    """An OCI layout as one tar, as `ctr images import` reads it: each image under its full name."""
    blobs: dict[str, bytes] = {}
    manifests = []
    for name, one in named:
        blobs |= one.blobs
        notes = one.descriptor.get("annotations", {}) | {NAME: name}
        manifests.append(one.descriptor | {"annotations": notes})
    with tarfile.open(path, mode="w") as tar:
        for entry, data in (
            file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            file("index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()),
            *(file(f"blobs/sha256/{digest[7:]}", data) for digest, data in blobs.items()),
        ):
            tar.addfile(entry, io.BytesIO(data))


def rootfs(seed: str = "hello") -> Layer:
    """A layer with folders and a few files, among them an executable, a symlink and a hard link."""
    return layer(
        [
            *(folder("bin"), folder("etc"), folder("opt"), folder("opt/a"), folder("opt/b")),
            file("bin/hello", f"#!/bin/sh\necho {seed}\n".encode(), 0o755),
            file("etc/seed", seed.encode() * 100),
            file("opt/a/one", b"1" * 5000),
            file("opt/b/two", b"2" * 50),
            link("etc/again", "etc/seed", hard=True),
            link("bin/sh", "hello"),
        ]
    )


def rich_index(seed: str = "rich", *, docker: bool = False) -> Image:
    """amd64 and arm64 of four layers each (gzip, zstd, whiteouts, plain tar); OCI's with an attestation for each."""
    noise = random.Random(seed).randbytes(300_000)
    children = []
    for platform in ("linux/amd64", "linux/arm64/v8"):
        layers = [
            rootfs(f"{seed} {platform}"),
            layer(
                [folder("srv"), file("srv/noise", noise + platform.encode())], "gzip" if docker else "zstd"
            ),
            layer(
                [
                    folder("opt"),
                    whiteout("opt/a"),
                    folder("opt/b"),
                    whiteout("opt/b/.wh..opq"),
                    file("opt/b/new", b"n"),
                ]
            ),
            layer([folder("var"), file("var/plain", platform.encode() * 1000)], "plain"),
        ]
        children.append(
            image(layers, platform=platform, docker=docker, labels={"seed": seed, "team": "core"})
        )
    return index(children, docker=True) if docker else index([*children, *map(attestation, children)])


_REGISTRIES = ("registry.example", "docker.io", "quay.example:5000", "mirror.example")
_TEAMS = ("api", "web", "batch", "ml", "edge")


def generated(count: int = 1000, seed: int = 1) -> Iterator[tuple[str, Image]]:
    """Names and images as a busy node has them: 6 layers each, 4 of them of one of `count / 20` shared bases.

    With 1,000: 3,000 documents, 2,200 layers and 2,200 chains. Every third is Docker's media types; each index also names
    an arm64 image that is not there. Each sixteenth is a second tag of the image before it.
    """
    rng = random.Random(seed)
    bases = [
        [_small_layer(rng, f"base {number} {depth}") for depth in range(4)]
        for number in range(max(1, count // 20))
    ]
    previous: Image | None = None
    for number in range(count):
        name = f"{rng.choice(_REGISTRIES)}/{rng.choice(_TEAMS)}/app{number // 4:04d}:{number % 4}.{rng.randrange(100)}"
        if previous is not None and number % 16 == 15:
            yield name, previous
            continue
        docker = number % 3 == 0
        compression = "gzip" if docker else rng.choice(("gzip", "gzip", "zstd", "plain"))
        own = [_small_layer(rng, f"app {number} {depth}", compression) for depth in range(2)]
        labels = {"team": rng.choice(_TEAMS), "build": str(number)} if number % 5 else None
        when = f"20{rng.randrange(19, 26)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}T00:00:{number % 60:02d}Z"
        here = image([*rng.choice(bases), *own], docker=docker, labels=labels, created=when)
        there = image([*own], docker=docker, platform="linux/arm64/v8")
        both = index([here, there], docker=docker)
        previous = both.without(*(there.blobs.keys() - here.blobs.keys()))
        yield name, previous


def _small_layer(rng: random.Random, text: str, compression: str = "gzip") -> Layer:
    files = [
        file(f"data/{text}/{n}", rng.randbytes(rng.randrange(10, 3000))) for n in range(rng.randrange(1, 4))
    ]
    return layer([folder("data"), folder(f"data/{text}"), *files], compression)
