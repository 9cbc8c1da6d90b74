"""A catalogue of generated repositories and releases: real documents and digests, layers known by size only.

Everything is determined by a seed, built on first use, and shared by all nodes.
"""

from __future__ import annotations

import functools
import json
import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from imgframe import digests
from imgframe.oci import chain_ids

DAY = 86_400 * 10**9  # nanoseconds
TEAMS = ("payments", "search", "media", "platform", "web", "data")
HOST = "registry.example"

_BASES = (
    # name and download sizes of layers [MB]
    ("base/debian", (48.5,)),
    ("base/alpine", (3.4,)),
    ("base/python", (48.5, 22.9, 61.2, 6.1)),
    ("base/node", (48.5, 22.9, 64.4, 47.0, 1.3)),
    ("base/jre", (28.6, 71.8, 0.2)),
    ("base/static", (0.8, 0.3)),
)
_APPS = (
    "api", "worker", "gateway", "frontend", "indexer", "scheduler", "ingest", "auth", "billing", "reports", "cache-warmer",
    "mailer", "thumbnails", "etl", "feature-store", "proxy",
)  # fmt: skip
_OCI = "application/vnd.oci.image."
_DOCKER = "application/vnd.docker."
TYPES = {
    "oci": {
        "index": f"{_OCI}index.v1+json",
        "manifest": f"{_OCI}manifest.v1+json",
        "config": f"{_OCI}config.v1+json",
        "layer": f"{_OCI}layer.v1.tar+gzip",
    },
    "docker": {
        "index": f"{_DOCKER}distribution.manifest.list.v2+json",
        "manifest": f"{_DOCKER}distribution.manifest.v2+json",
        "config": f"{_DOCKER}container.image.v1+json",
        "layer": f"{_DOCKER}image.rootfs.diff.tar.gzip",
    },
}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: bytes to download, and bytes and inodes on disk."""

    digest: str
    diff_id: str
    size: int
    disk_size: int
    inodes: int


@dataclass(frozen=True, slots=True)
class Document:
    """The text of an index, manifest or config, and its digest."""

    digest: str
    text: str
    size: int


@dataclass(frozen=True, slots=True)
class Variant:
    """One platform of a release."""

    platform: str
    manifest: Document
    config: Document
    layers: tuple[Layer, ...]
    chain: tuple[str, ...]
    attests: bool = False


@dataclass(frozen=True)
class Release:
    """A release of an image: an index of platforms, or a single manifest."""

    repository: str
    version: str
    built_at: int
    types: str
    variants: tuple[Variant, ...]
    index: Document | None = field(repr=False)

    @property
    def target(self) -> dict[str, Any]:
        """The descriptor of the index or manifest."""
        top = self.index or self.variants[0].manifest
        kind = "index" if self.index else "manifest"
        return {
            "mediaType": TYPES[self.types][kind],
            "digest": top.digest,
            "size": top.size,
            "annotations": {},
        }

    def variant(self, platform: str) -> Variant:
        """The variant for a platform, or the first if there is none."""
        return next((each for each in self.variants if each.platform == platform), self.variants[0])


@dataclass(frozen=True)
class Repository:
    """A repository: its team, base image and release cadence."""

    name: str
    team: str
    base: str
    cadence: float  # days between releases
    offset: float
    types: str
    platforms: tuple[str, ...]
    attested: bool
    weight: float


class Catalogue:
    """The repositories of a company, generated from ``seed``; releases are numbered from ``start`` on.

    Example:
        >>> from imgframe.simulator.catalogue import Catalogue
        >>> catalogue = Catalogue(seed=1, start=0, repositories=3)
        >>> release = catalogue.release(catalogue.repositories[0], 0)
        >>> release.target["digest"] == Catalogue(1, 0, 3).release(catalogue.repositories[0], 0).target["digest"]
        True
    """

    def __init__(self, seed: int, start: int, repositories: int = 36) -> None:
        self.seed = seed
        self.start = start
        self.repositories = [self._repository(number) for number in range(repositories)]
        self.placed: dict[tuple[str, str, bool], Any] = {}  # rows of pulled releases
        self._releases: dict[tuple[str, int], Release] = {}
        self._layers: dict[tuple[str, int, str], tuple[Layer, ...]] = {}

    def newest(self, repository: Repository, at: int) -> int:
        """Number of the newest release at the time ``at``; negative before the first."""
        return math.floor(((at - self.start) / DAY - repository.offset) / repository.cadence)

    def built_at(self, repository: Repository, number: int) -> int:
        """Build time of a release."""
        return self.start + int((repository.offset + number * repository.cadence) * DAY)

    def release(self, repository: Repository, number: int) -> Release:
        """A release by its number."""
        key = (repository.name, number)
        if key not in self._releases:
            self._releases[key] = self._release(repository, number)
        return self._releases[key]

    def pause(self) -> Release:
        """The sandbox image, which the CRI pins."""
        repository = Repository(f"{HOST}/base/pause", "platform", "", 365.0, -400.0, "oci", _BOTH, False, 0.2)
        return self.release(repository, 0)

    def _random(self, *what: object) -> random.Random:
        return random.Random("/".join(map(str, (self.seed, *what))))  # noqa: S311 -- generated data

    def _repository(self, number: int) -> Repository:
        rng = self._random("repository", number)
        team, app = TEAMS[number % len(TEAMS)], _APPS[(number * 7) % len(_APPS)]
        suffix = f"-{number // 48}" if number >= 48 else ""
        return Repository(
            name=f"{HOST}/{team}/{app}{suffix}",
            team=team,
            base=rng.choices(_BASES, (3, 3, 4, 4, 2, 2))[0][0],
            cadence=rng.choice((1.5, 3.0, 5.0, 7.0, 10.0, 14.0)),
            offset=rng.uniform(-20, 0),
            types="docker" if rng.random() < 0.2 else "oci",
            platforms=_BOTH if rng.random() < 0.7 else ("linux/amd64",),
            attested=rng.random() < 0.4,
            weight=rng.lognormvariate(0, 0.8),
        )

    def _base_layers(self, base: str, built_at: int, platform: str) -> tuple[Layer, ...]:
        """The layers of a base image at a time; bases are rebuilt every 30 days and share first layers of one size."""
        edition = (built_at - self.start) // (30 * DAY)
        key = (base, edition, platform)
        if key not in self._layers:
            sizes = dict(_BASES).get(base, ())
            self._layers[key] = tuple(
                self._layer(f"base/{sizes[: place + 1]}/{edition}/{platform}", megabytes)
                for place, megabytes in enumerate(sizes)
            )
        return self._layers[key]

    def _layer(self, identity: str, megabytes: float) -> Layer:
        rng = self._random("layer", identity)
        size = max(120, int(megabytes * 1e6 * rng.uniform(0.95, 1.05)))
        inodes = 1 + int(megabytes * rng.uniform(20, 60))
        disk = -(-int(size * rng.uniform(2.1, 2.9)) // 4096) * 4096 + 4096 * (1 + inodes // 12)
        diff_id = _sha256(f"{self.seed}/{identity}/plain")
        return Layer(_sha256(f"{self.seed}/{identity}/gzip"), diff_id, size, disk, inodes)

    def _release(self, repository: Repository, number: int) -> Release:
        built_at = self.built_at(repository, number)
        version = f"1.{number}.0" if number >= 0 else f"0.{-number}.0"
        variants = [
            self._variant(repository, number, version, built_at, platform)
            for platform in repository.platforms
        ]
        index = None
        if len(variants) > 1:
            if repository.attested:
                variants += [_attestation(variant) for variant in variants]
            index = _index(repository.types, variants)
        return Release(repository.name, version, built_at, repository.types, tuple(variants), index)

    def _variant(
        self, repository: Repository, number: int, version: str, built_at: int, platform: str
    ) -> Variant:
        rng = self._random("release", repository.name, platform, number)
        # dependencies change with every fourth release, the application with each
        own = [
            (f"{repository.name}/{platform}/deps/{number // 4}", 60 * repository.weight),
            (f"{repository.name}/{platform}/app/{number}", repository.weight * rng.lognormvariate(3, 0.5)),
        ]
        layers = self._base_layers(repository.base, built_at, platform)
        layers += tuple(self._layer(identity, megabytes) for identity, megabytes in own)
        os, architecture = platform.split("/")
        created = rfc3339(built_at)
        labels = {
            "com.example.team": repository.team,
            "org.opencontainers.image.source": f"https://git.example/{repository.name.partition('/')[2]}",
            "org.opencontainers.image.version": version,
        }
        config = _document(
            {
                "created": created,
                "architecture": architecture,
                "os": os,
                "config": {
                    "User": "10001",
                    "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", f"VERSION={version}"],
                    "Entrypoint": ["/usr/local/bin/run"],
                    "Labels": labels,
                },
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
                "history": [
                    {"created": created, "created_by": f"COPY layer {place} /"}
                    for place in range(len(layers))
                ]
                + [{"created": created, "created_by": "ENTRYPOINT run", "empty_layer": True}],
            }
        )
        manifest = _manifest(repository.types, config, layers)
        chain = chain_ids(layer.diff_id for layer in layers)
        return Variant(platform, manifest, config, layers, tuple(chain))


_BOTH = ("linux/amd64", "linux/arm64")


def _manifest(
    types: str, config: Document, layers: tuple[Layer, ...], layer_type: str = "", **more: dict[str, str]
) -> Document:
    """A manifest; ``more`` is in the descriptor of each layer."""
    kinds = TYPES[types]
    kind = layer_type or kinds["layer"]
    return _document(
        {
            "schemaVersion": 2,
            "mediaType": kinds["manifest"],
            "config": {"mediaType": kinds["config"], "digest": config.digest, "size": config.size},
            "layers": [
                {"mediaType": kind, "digest": each.digest, "size": each.size, **more} for each in layers
            ],
        }
    )


def _attestation(of: Variant) -> Variant:
    """The attestation manifest of a platform, as build tools add it."""
    statement = Layer(_sha256(f"attest {of.manifest.digest}"), of.manifest.digest, 4321, 0, 0)
    config = _document(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [statement.digest]},
        }
    )
    predicate = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    manifest = _manifest("oci", config, (statement,), "application/vnd.in-toto+json", annotations=predicate)
    return Variant("unknown/unknown", manifest, config, (statement,), (), attests=True)


def _index(types: str, variants: list[Variant]) -> Document:
    subjects = [variant.manifest.digest for variant in variants if not variant.attests]
    manifests: list[dict[str, Any]] = []
    for place, variant in enumerate(variants):
        os, architecture = variant.platform.split("/")
        entry = {
            "mediaType": TYPES["oci" if variant.attests else types]["manifest"],
            "digest": variant.manifest.digest,
            "size": variant.manifest.size,
            "platform": {"architecture": architecture, "os": os},
        }
        if variant.attests:
            entry["annotations"] = {
                "vnd.docker.reference.digest": subjects[place - len(subjects)],
                "vnd.docker.reference.type": "attestation-manifest",
            }
        manifests.append(entry)
    return _document({"schemaVersion": 2, "mediaType": TYPES[types]["index"], "manifests": manifests})


def _document(value: dict[str, Any]) -> Document:
    text = json.dumps(value, separators=(",", ":"))
    return Document(_sha256(text), text, len(text))


def _sha256(text: str) -> str:
    return digests.sha256(text.encode())


@functools.cache
def rfc3339(nanoseconds: int) -> str:
    """A time in whole seconds."""
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
