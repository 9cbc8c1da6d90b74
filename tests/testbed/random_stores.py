"""Random stores written into a real daemon: images of shared layers and everything a garbage collector may meet."""

import json
import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from testbed.daemons import Daemon
from testbed.images import digest_of
from testbed.recorded_stores import Wire, message

# only a synchronous delete collects: an asynchronous one is put off for hours, a hundred mutations do nothing
QUIET = """
[plugins."io.containerd.gc.v1.scheduler"]
  pause_threshold = 0.0000001
  deletion_threshold = 0
  mutation_threshold = 10000000
  schedule_delay = "0s"
  startup_delay = "1ms"
"""
NAMESPACES = ("default", "k8s.io", "moby")
OCI = "application/vnd.oci.image."
_SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec"


def collect_now(daemon: Daemon) -> None:
    """One collection: a lease made and deleted synchronously."""
    with Wire(daemon, "default") as wire:
        wire.call("leases.v1.Leases", "Create", (1, "now"))
        wire.call("leases.v1.Leases", "Delete", (1, "now"), (2, 1))


def delete_images(daemon: Daemon, records: list[tuple[str, str]]) -> None:
    """Deletes image records (namespace, name): all but the last asynchronously."""
    for at, (namespace, name) in enumerate(records):
        with Wire(daemon, namespace) as wire:
            wire.call("images.v1.Images", "Delete", (1, name), (2, int(at == len(records) - 1)))


class Filler:
    """Adds to one daemon, round after round; names and layers of earlier rounds come again."""

    def __init__(self, daemon: Daemon, rng: random.Random) -> None:
        self.daemon, self.rng = daemon, rng
        self.layers: list[bytes] = []
        self.round = 0

    def fill(self) -> None:
        """One more round of everything, in two or three namespaces."""
        self.round += 1
        rng = self.rng
        self.layers = self.layers[-4:] + [rng.randbytes(rng.randint(1, 9000)) for _ in range(4)]
        images = [self._image() for _ in range(4)]
        indexes = [self._index(rng.sample(images, rng.randint(1, 3))) for _ in range(2)]
        for namespace in rng.sample(NAMESPACES, rng.randint(2, 3)):
            with Wire(self.daemon, namespace) as wire:
                _Namespace(self, wire, images, indexes).fill()

    def _image(self) -> dict:
        rng = self.rng
        layers = [rng.choice(self.layers) for _ in range(rng.randint(0, 4))]
        diff_ids = [digest_of(b"tar of " + layer) for layer in layers]
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        if rng.random() < 0.7:
            config["created"] = f"2026-01-01T00:00:{rng.randint(10, 59)}Z"
        config_data = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": _descriptor(f"{OCI}config.v1+json", config_data),
            "layers": [_descriptor(f"{OCI}layer.v1.tar+gzip", layer) for layer in layers],
        }
        return {
            "data": json.dumps(manifest).encode(),
            "config": config_data,
            "layers": layers,
            "diff_ids": diff_ids,
        }

    def _index(self, children: list[dict]) -> dict:
        platforms = [{"os": "linux", "architecture": name} for name in ("amd64", "arm64", "s390x")]
        manifests = [
            {**_descriptor(f"{OCI}manifest.v1+json", child["data"]), "platform": platform}
            for child, platform in zip(children, platforms, strict=False)
        ]
        data = {"schemaVersion": 2, "mediaType": f"{OCI}index.v1+json", "manifests": manifests}
        return {"data": json.dumps(data).encode(), "children": children}


def _descriptor(media_type: str, data: bytes) -> dict:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _chain(diff_ids: list[str]) -> list[str]:
    out: list[str] = []
    for diff in diff_ids:
        out.append(digest_of(f"{out[-1]} {diff}".encode()) if out else diff)
    return out


def _stamp(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Namespace:
    def __init__(self, filler: Filler, wire: Wire, images: list[dict], indexes: list[dict]) -> None:
        self.rng, self.wire, self.round, self.numbers = filler.rng, wire, filler.round, filler.daemon.numbers
        self.images, self.indexes = images, indexes
        self.written: list[str] = []
        self.snapshots: list[tuple[str, str]] = []

    def fill(self) -> None:
        rng = self.rng
        for image in rng.sample(self.images, rng.randint(1, len(self.images))):
            self._write_image(image)
        for index in rng.sample(self.indexes, rng.randint(0, 2)):
            labels = {
                f"containerd.io/gc.ref.content.m.{i}": digest_of(child["data"])
                for i, child in enumerate(index["children"])
            }
            self._write(index["data"], labels)
        self._records()
        for number in range(rng.randint(0, 3)):
            self._active(number)
        for number in range(rng.randint(0, 2)):
            self._lease(number)
        for number in range(rng.randint(0, 2)):
            self._sandbox(number)
        for number in range(rng.randint(0, 3)):
            self._conditional(number)
        if rng.random() < 0.5:
            self._ingest()

    def _write(self, data: bytes, labels: dict[str, str]) -> None:
        if self.rng.random() < 0.06:
            labels = {**labels, "containerd.io/gc.root": "kept"}
        labels = {**labels, **self._odd_labels()}
        digest = digest_of(data)
        self.wire.write(digest, data, labels)
        self.written.append(digest)

    def _write_image(self, image: dict) -> None:
        rng = self.rng
        for layer in image["layers"]:
            if rng.random() < 0.9:
                self._write(layer, {"containerd.io/uncompressed": digest_of(b"tar of " + layer)})
        config_labels = {}
        for snapshotter in ("overlayfs", "native"):
            if image["layers"] and rng.random() < 0.5:
                top = self._unpack(snapshotter, _chain(image["diff_ids"]))
                if rng.random() < 0.8:
                    config_labels[f"containerd.io/gc.ref.snapshot.{snapshotter}"] = top
        if rng.random() < 0.95:
            self._write(image["config"], config_labels)
        labels = {"containerd.io/gc.ref.content.config": digest_of(image["config"])}
        if rng.random() < 0.85:  # else as after `ctr content prune references`
            labels |= {
                f"containerd.io/gc.ref.content.l.{i}": digest_of(layer)
                for i, layer in enumerate(image["layers"])
            }
        self._write(image["data"], labels)

    def _unpack(self, snapshotter: str, chain: list[str]) -> str:
        parent = ""
        for key in chain:
            try:
                self._snapshot(snapshotter, f"extract {key}", parent, key)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.ALREADY_EXISTS, error
            self.snapshots.append((snapshotter, key))
            parent = key
        return parent

    def _snapshot(
        self, snapshotter: str, key: str, parent: str, name: str = "", *, method: str = "Prepare"
    ) -> None:
        if name:
            self._stat_absent(snapshotter, name)
        labels = {"containerd.io/gc.root": "kept"} if not name and self.rng.random() < 0.1 else {}
        if self.rng.random() < 0.4:
            when = self.rng.choice([_stamp(-2), _stamp(-2), _stamp(-48), _stamp(1), "long ago"])
            labels["containerd.io/gc.cond.value-usedat"] = when
        labels |= self._odd_labels()
        reply = self._call(
            "snapshots.v1.Snapshots", method, (1, snapshotter), (2, key), (3, parent), (4, labels)
        )
        if method == "Prepare":
            path = rb"(/[\w./-]*?/snapshots/\d+(?:/fs)?)"
            found = re.search(rb"upperdir=" + path, reply) or re.search(path, reply)
            (Path(found[1].decode()) / f"file-{self.rng.randint(0, 3)}").write_bytes(
                self.rng.randbytes(self.rng.randint(0, 20_000))
            )
        if name:
            commit = (1, snapshotter), (2, name), (3, key), (4, labels)
            self._call("snapshots.v1.Snapshots", "Commit", *commit)

    def _stat_absent(self, snapshotter: str, name: str) -> None:
        """Raises ALREADY_EXISTS where the name is there."""
        try:
            self._call("snapshots.v1.Snapshots", "Stat", (1, snapshotter), (2, name))
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return
            raise
        raise _Exists

    def _call(self, service: str, method: str, *fields: tuple[int, object]) -> bytes:
        if service.startswith("snapshots"):
            ask = self.wire.channel.unary_unary(f"/containerd.services.{service}/{method}")
            return ask(
                message(*fields), metadata=(("containerd-namespace", self.wire.namespace),), timeout=240
            )
        return self.wire.call(service, method, *fields)

    def _records(self) -> None:
        rng = self.rng
        for target in rng.sample([*self.images, *self.indexes], rng.randint(1, 4)):
            labels = rng.choice(
                [{}] * 6
                + [{"containerd.io/gc.expire": _stamp(hours)} for hours in (-1, 1)]
                + [
                    {"containerd.io/gc.expire": "soon"},
                    {"containerd.io/gc.ref.content.also": rng.choice(self.written)},
                ]
            )
            labels = {**labels, **self._odd_labels()}
            self._record(f"registry.example/app-{rng.randint(0, 5)}:{self.round}", target, labels)

    def _record(self, name: str, target: dict, labels: dict[str, str]) -> None:
        kind = "index" if "children" in target else "manifest"
        size = (1, f"{OCI}{kind}.v1+json"), (2, digest_of(target["data"])), (3, len(target["data"]))
        record = message((1, name), (2, labels), (3, message(*size)))
        try:
            self._call("images.v1.Images", "Create", (1, record))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.ALREADY_EXISTS, error

    def _active(self, number: int) -> None:
        rng = self.rng
        snapshotter, parent = rng.choice([*self.snapshots, ("overlayfs", "")])
        key = f"active-{self.round}-{number}"
        self._snapshot(
            snapshotter, key, parent, method="View" if parent and rng.random() < 0.3 else "Prepare"
        )
        if rng.random() < 0.5:
            labels = (
                {"containerd.io/gc.ref.content.x": rng.choice(self.written)} if rng.random() < 0.3 else {}
            )
            container = message(
                *(
                    (1, key),
                    (2, labels),
                    (3, "registry.example/app-0:1"),
                    (4, message((1, "io.containerd.runc.v2"))),
                ),
                *((5, message((1, _SPEC), (2, b"{}"))), (6, snapshotter), (7, key)),
            )
            self._call("containers.v1.Containers", "Create", (1, container))

    def _lease(self, number: int) -> None:
        rng = self.rng
        labels = rng.choice(
            [{}, {"containerd.io/gc.expire": _stamp(-1)}, {"containerd.io/gc.expire": _stamp(2)}]
        )
        if rng.random() < 0.4:
            labels = {**labels, "containerd.io/gc.flat": "yes"}
        lease = f"lease-{self.round}-{number}"
        self._call("leases.v1.Leases", "Create", (1, lease), (3, labels))
        held = [("content", digest_of(index["data"])) for index in self.indexes]
        held += [("content", digest) for digest in self.written[:3]]
        held += [(f"snapshots/{snapshotter}", key) for snapshotter, key in self.snapshots[:3]]
        if self.numbers >= (2, 0):
            held.append(("images", f"registry.example/app-{rng.randint(0, 5)}:{self.round}"))
        for kind, resource in rng.sample(held, rng.randint(0, min(3, len(held)))):
            self._call("leases.v1.Leases", "AddResource", (1, lease), (2, message((1, resource), (2, kind))))

    def _odd_labels(self) -> dict[str, str]:
        """Sometimes a back reference or a condition, which count from 2.2 and 2.3 on; older releases only store them."""
        rng = self.rng
        chosen = rng.random()
        if chosen > 0.16:
            return {}
        snapshotter, key = rng.choice([*self.snapshots, ("overlayfs", "nowhere")])
        if chosen > 0.08:
            said = rng.choice(
                ["usedat<24h", "usedat<24h", "usedat>24h", "usedat<1m,usedat>40h", "usedat<=24h", "x<1h"]
            )
            suffix = rng.choice(["", "/x"])
            return {f"containerd.io/gc.cond.snapshot.{snapshotter}{suffix}": f"{said}|{key}"}
        image = f"registry.example/app-{rng.randint(0, 5)}:{self.round}"
        back, other = rng.choice(
            [
                ("content.x", rng.choice([*self.written, "sha256:" + "0" * 64])),
                ("image", image),
                ("container/x", f"active-{self.round}-0"),
                (f"snapshot.{snapshotter}", key),
            ]
        )
        return {f"containerd.io/gc.bref.{back}": other}

    def _conditional(self, number: int) -> None:
        """A snapshot that only a condition holds, of an image record or of a blob that the record refers to."""
        rng = self.rng
        snapshotter, parent = rng.choice([*self.snapshots, ("overlayfs", "")])
        key = f"conditional-{self.round}-{number}"
        self._snapshot(snapshotter, f"extract {key}", parent, key)
        said = rng.choice(
            [
                "usedat<24h",
                "usedat<24h",
                "usedat>24h",
                "usedat<1m,usedat>40h",
                "usedat<-30m",
                "usedat=2h",
                "x<1h",
            ]
        )
        labels = {f"containerd.io/gc.cond.snapshot.{snapshotter}": f"{said}|{key}"}
        if rng.random() < 0.5:
            data = f"{self.wire.namespace} {key}".encode()
            self._write(data, labels)
            labels = {"containerd.io/gc.ref.content.also": digest_of(data)}
        self._record(f"registry.example/conditional-{number}:{self.round}", rng.choice(self.images), labels)

    def _sandbox(self, number: int) -> None:
        """A pod: its sandbox, which may refer to things, and sometimes an image mounted into it as a volume."""
        rng = self.rng
        sandbox = f"sandbox-{self.round}-{number}"
        snapshotter, parent = rng.choice([*self.snapshots, ("overlayfs", "")])
        if self.numbers >= (1, 7) and rng.random() < 0.7:
            labels = rng.choice(
                [
                    {},
                    {"containerd.io/gc.ref.content.x": rng.choice(self.written)},
                    {f"containerd.io/gc.ref.snapshot.{snapshotter}": parent or "nowhere"},
                    {"containerd.io/gc.ref.image": f"registry.example/app-{rng.randint(0, 5)}:{self.round}"},
                    {"containerd.io/gc.root": "x", "containerd.io/gc.bref.content": rng.choice(self.written)},
                ]
            )
            fields = (1, sandbox), (2, message((1, "io.containerd.runc.v2"))), (4, labels)
            self._call("sandbox.v1.Store", "Create", (1, message(*fields)))
        if parent and rng.random() < 0.7:
            self._call("leases.v1.Leases", "Create", (1, sandbox))
            key = f"/run/kubernetes/image-volumes/{sandbox}/{parent}"
            self._snapshot(snapshotter, key, parent, method=rng.choice(["Prepare", "View"]))
            resource = message((1, key), (2, f"snapshots/{snapshotter}"))
            self._call("leases.v1.Leases", "AddResource", (1, sandbox), (2, resource))

    def _ingest(self) -> None:
        """An unfinished write, sometimes under a lease that is already over or that lives on."""
        lease = ""
        if (chosen := self.rng.random()) < 0.5:
            lease = f"write-{self.round}"
            labels = {"containerd.io/gc.expire": _stamp(-1)} if chosen < 0.25 else {}
            self._call("leases.v1.Leases", "Create", (1, lease), (3, labels))
        talk = self.wire.channel.stream_stream("/containerd.services.content.v1.Content/Write")
        metadata = [("containerd-namespace", self.wire.namespace)]
        metadata += [("containerd-lease", lease)] if lease else []
        data = self.rng.randbytes(self.rng.randint(1, 500))
        fields = message((1, 1), (2, f"ingest-{self.round}"), (3, 10_000), (6, data))
        list(talk(iter([fields]), metadata=metadata, timeout=240))


class _Exists(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.ALREADY_EXISTS


def disk_bytes(root: Path) -> tuple[int, int]:
    """What blobs (their lengths) and snapshots (their blocks, as containerd counts them) take in a daemon's root."""
    blobs = sum(path.stat().st_size for path in root.glob("io.containerd.content.v1.content/blobs/*/*"))
    taken = 0
    for kind, inner in (("overlayfs", "*/fs"), ("native", "*")):
        for top in (root / f"io.containerd.snapshotter.v1.{kind}" / "snapshots").glob(inner):
            taken += sum(path.lstat().st_blocks * 512 for path in (top, *top.rglob("*")))
    return blobs, taken
