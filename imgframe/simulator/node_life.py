"""The life of generated nodes: they pull releases, move tags, run containers, and prune when the disk fills up."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from imgframe.simulator.catalogue import DAY, Catalogue, Release, Repository, rfc3339
from imgframe.simulator.pulled_content import SNAPSHOTTER, PulledObject, pieces

Row = dict[str, Any]
HOUR = DAY // 24
_MANAGED = {"io.cri-containerd.image": "managed"}
_PINNED = _MANAGED | {"io.cri-containerd.pinned": "pinned"}
_VERSIONS = ("2.1.9", "2.1.9", "1.7.24", "1.6.20~ds1")


@dataclass(slots=True)
class Pull:
    """A pulled release: its names, time of the pull and of its last use."""

    release: Release
    names: dict[str, tuple[int, int]]  # name -> created, updated
    at: int
    used_at: int
    metadata: bool
    pinned: bool = False


@dataclass(slots=True)
class Workload:
    """A container on a node, of the newest release that the node pulled."""

    id: str
    repository: Repository
    pull: Pull
    since: int


@dataclass
class NodeLife:
    """A node: call :meth:`begin` once, :meth:`live` for each day, :meth:`dump` at any time.

    The namespace ``k8s.io`` has three records per image and runs pods; any other has names as nerdctl writes them.
    ``disk_total`` is the size of the disk [bytes], ``None`` for one that never fills up.
    """

    name: str
    catalogue: Catalogue
    seed: int
    namespace: str = "k8s.io"
    platform: str = "linux/amd64"
    version: str = "2.1.9"
    disk_total: int | None = None
    workloads: int = 12
    pulls: dict[str, Pull] = field(default_factory=dict)
    names: dict[str, Pull] = field(default_factory=dict)
    used: int = 0
    _rng: random.Random = field(init=False)
    _holds: Counter[tuple[str, str]] = field(default_factory=Counter)
    _since: dict[tuple[str, str], int] = field(default_factory=dict)
    _running: list[Workload] = field(default_factory=list)
    _number: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"{self.seed}/{self.name}")  # noqa: S311 -- generated data

    def begin(self, at: int) -> None:
        """Starts the node: the sandbox image and the first containers."""
        if self.namespace == "k8s.io":
            self.pull(self.catalogue.pause(), at, pinned=True)
        weights = [repository.weight for repository in self.catalogue.repositories]
        chosen = dict.fromkeys(
            repository.name
            for repository in self._rng.choices(self.catalogue.repositories, weights, k=self.workloads)
        )
        by_name = {repository.name: repository for repository in self.catalogue.repositories}
        for name in chosen:
            repository = by_name[name]
            number = self.catalogue.newest(repository, at)
            pull = self.pull(self.catalogue.release(repository, number), at + self._rng.randrange(HOUR))
            self._number[name] = number
            self._running.append(Workload(self._id(name), repository, pull, pull.at))

    def live(self, start: int) -> None:
        """Simulates the day from ``start``: rollouts in the order of builds, each followed by a prune if necessary."""
        rollouts = []
        for workload in self._running:
            newest = self.catalogue.newest(workload.repository, start + DAY)
            rollouts += [
                (self.catalogue.built_at(workload.repository, number), workload, number)
                for number in range(self._number[workload.repository.name] + 1, newest + 1)
            ]
            self._number[workload.repository.name] = max(newest, self._number[workload.repository.name])
        for built_at, workload, number in sorted(rollouts, key=lambda each: each[0]):
            if self._rng.random() < 0.85:
                at = max(built_at, start) + self._rng.randrange(HOUR // 4, HOUR)
                workload.pull.used_at = at
                workload.pull = self.pull(self.catalogue.release(workload.repository, number), at)
                workload.since, workload.id = at, self._id(f"{workload.repository.name}/{number}")
            self.prune()

    def pull(self, release: Release, at: int, *, pinned: bool = False) -> Pull:
        """Pulls a release under its names; ``latest`` moves to it."""
        digest = release.target["digest"]
        pull = self.pulls.get(digest)
        if pull is None:
            pull = Pull(release, {}, at, at, self._rng.random() < 0.3, pinned)
            self.pulls[digest] = pull
            for piece in self._pieces(pull):
                self._take(piece, at)
        names = [f"{release.repository}:{release.version}"]
        if self.namespace == "k8s.io":
            names += [release.variant(self.platform).config.digest, f"{release.repository}@{digest}"]
        elif self._rng.random() < 0.4:
            names.append(f"{release.repository}:latest")
        for name in names:
            owner = self.names.get(name, pull)
            created = at if owner is pull else owner.names.pop(name)[0]
            pull.names.setdefault(name, (created, at))
            self.names[name] = pull
        return pull

    def prune(self) -> None:
        """Prunes like a kubelet: above 85 % of the disk, deletes unused images, least recently used first, down to 60 %."""
        if self.disk_total is None or self.used <= 0.85 * self.disk_total:
            return
        running = {id(workload.pull) for workload in self._running}
        idle = [pull for pull in self.pulls.values() if id(pull) not in running and not pull.pinned]
        for pull in sorted(idle, key=lambda each: each.used_at):
            if self.used <= 0.6 * self.disk_total:
                return
            self.delete(pull)

    def delete(self, pull: Pull) -> None:
        """Deletes an image and everything that only it uses."""
        del self.pulls[pull.release.target["digest"]]
        for name in pull.names:
            del self.names[name]
        for piece in self._pieces(pull):
            key = (piece.table, piece.key)
            self._holds[key] -= 1
            if not self._holds[key]:
                del self._holds[key], self._since[key]
                self.used -= piece.size

    def dump(self, now: int) -> Row:
        """The store at the time ``now``, for :func:`imgframe.simulator.from_dump`."""
        snapshots = list(self._rows("snapshots"))
        containers = []
        for workload in self._running:
            row, layer = self._container(workload)
            containers.append(row)
            snapshots.append(layer)
        missing = self._missing_layers()
        blobs = [row for row in self._rows("blobs") if row["digest"] not in missing]
        part = {
            "labels": {},
            "images": [row for pull in self.pulls.values() for row in self._records(pull)],
            "blobs": blobs,
            "snapshots": {SNAPSHOTTER: snapshots},
            "containers": containers,
        }
        part |= self._leases_and_ingests(now)
        return {
            "store": self.name,
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.seed}/{self.name}")),
            "daemon": self.version,
            "platform": self.platform,
            "disk_total": self.disk_total,
            "namespaces": {self.namespace: part},
        }

    def _pieces(self, pull: Pull) -> tuple[PulledObject, ...]:
        key = (pull.release.target["digest"], self.platform, pull.metadata)
        made: tuple[PulledObject, ...] | None = self.catalogue.placed.get(key)
        if made is None:
            made = self.catalogue.placed[key] = pieces(pull.release, self.platform, pull.metadata)
        return made

    def _take(self, piece: PulledObject, at: int) -> None:
        key = (piece.table, piece.key)
        if not self._holds[key]:
            self._since[key] = at
            self.used += piece.size
        self._holds[key] += 1

    def _rows(self, table: str) -> Iterator[Row]:
        seen = set()
        for pull in self.pulls.values():
            for piece in self._pieces(pull):
                if piece.table == table and piece.key not in seen:
                    seen.add(piece.key)
                    yield piece.row | {"created_at_ns": self._since[table, piece.key]}

    def _records(self, pull: Pull) -> Iterator[Row]:
        labels = {} if self.namespace != "k8s.io" else _PINNED if pull.pinned else _MANAGED
        for name, (created, updated) in pull.names.items():
            yield {
                "name": name,
                "labels": labels,
                "created_at_ns": created,
                "updated_at_ns": updated,
                "target": pull.release.target,
            }

    def _container(self, workload: Workload) -> tuple[Row, Row]:
        """The container and its active snapshot."""
        variant = workload.pull.release.variant(self.platform)
        rng = random.Random(workload.id)  # noqa: S311 -- generated data
        app = workload.repository.name.rpartition("/")[2]
        labels = {"app": app, "com.example.team": workload.repository.team}
        if self.namespace == "k8s.io":
            labels |= {
                "io.cri-containerd.kind": "container",
                "io.kubernetes.pod.namespace": workload.repository.team,
            }
        image = variant.config.digest if self.namespace == "k8s.io" else next(iter(workload.pull.names), "")
        container = {
            "id": workload.id,
            "image": image,
            "snapshotter": SNAPSHOTTER,
            "snapshot_key": workload.id,
            "labels": labels,
            "created_at_ns": workload.since,
            "status": rng.choices(("running", "stopped", ""), (8, 1, 1))[0],
        }
        inodes = rng.randrange(2, 400)
        snapshot = {
            "key": workload.id,
            "parent": variant.chain[-1] if variant.chain else "",
            "kind": "active",
            "labels": {},
            "created_at_ns": workload.since,
            "size": 4096 * inodes * rng.randrange(1, 9),
            "inodes": inodes,
        }
        return container, snapshot

    def _missing_layers(self) -> set[str]:
        """Digests of missing layers of a present image, as after ``discard_unpacked_layers``."""
        if not self.pulls or int(_hex(self.name)[:4], 16) % 4:
            return set()
        layers = next(reversed(self.pulls.values())).release.variant(self.platform).layers
        return {layer.digest for layer in layers[-1:]}

    def _leases_and_ingests(self, now: int) -> Row:
        """Active, expired and permanent leases, and on some nodes an interrupted pull."""
        held = [{"type": "content", "id": key} for table, key in list(self._since)[:3] if table == "blobs"]
        leases = [
            _lease(f"{now - 2 * HOUR}-live", now - 2 * HOUR, now + 22 * HOUR, held),
            _lease(f"{now - 3 * DAY}-expired", now - 3 * DAY, now - 2 * DAY, []),
        ]
        if self.namespace != "k8s.io":
            leases.append(_lease("build-cache", now - 9 * DAY, None, held[:1]))
        ingests = []
        if int(_hex(self.name)[4:8], 16) % 3 == 0:
            ref = f"layer-sha256:{_hex(f'{self.name}/cut')}"
            times = {
                "started_at_ns": now - HOUR,
                "updated_at_ns": now - HOUR // 2,
                "expires_at_ns": now + 23 * HOUR,
            }
            ingests.append({"ref": ref, "offset": 7 << 20, "total": 31 << 20, **times})
        return {"leases": leases, "ingests": ingests}

    def _id(self, what: str) -> str:
        return _hex(f"{self.seed}/{self.name}/{what}")


def _lease(name: str, created: int, expires: int | None, resources: list[Row]) -> Row:
    labels = {} if expires is None else {"containerd.io/gc.expire": rfc3339(expires)}
    return {"id": name, "created_at_ns": created, "labels": labels, "resources": resources}


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fleet_lives(nodes: int, seed: int, start: int) -> list[NodeLife]:
    """The nodes of a fleet: mostly Kubernetes workers, every fourth a build or edge machine.

    Nodes differ in size, containerd version and platform, and share one catalogue.
    """
    catalogue = Catalogue(seed, start)
    lives = []
    for place in range(nodes):
        rng = random.Random(f"{seed}/node/{place}")  # noqa: S311 -- generated data
        role = "worker" if place % 4 else ("build" if place % 8 else "edge")
        life = NodeLife(
            name=f"{role}-{place:02d}",
            catalogue=catalogue,
            seed=seed,
            namespace="k8s.io" if role == "worker" else "default",
            platform="linux/arm64" if role == "edge" else "linux/amd64",
            version=_VERSIONS[rng.randrange(len(_VERSIONS))],
            disk_total=int(rng.choice((24, 32, 40)) * 1e9)
            if role == "worker"
            else int(rng.choice((48, 64)) * 1e9),
            workloads=rng.randrange(8, 20),
        )
        lives.append(life)
    return lives


def filled_node(images: int, seed: int, now: int, namespace: str = "default") -> NodeLife:
    """A node with at least ``images`` image records, pulled in the last ninety days without a prune."""
    start = now - 90 * DAY
    per_image = 3 if namespace == "k8s.io" else 1.2
    catalogue = Catalogue(seed, start, repositories=max(12, int(images / per_image / 12)))
    life = NodeLife("node", catalogue, seed, namespace=namespace, workloads=min(12, max(1, images // 4)))
    life.begin(start)
    step = 0
    while len(life.names) < images:
        repository = catalogue.repositories[step % len(catalogue.repositories)]
        number = catalogue.newest(repository, now) - step // len(catalogue.repositories)
        at = min(catalogue.built_at(repository, number) + HOUR, now)
        life.pull(catalogue.release(repository, number), at)
        step += 1
    return life
