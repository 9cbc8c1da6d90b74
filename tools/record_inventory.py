"""Records data/node: the inventory of a real containerd that ran for half an hour and was filled as a busy node is.

Usage: tools/record_inventory.py [FOLDER]   (root on Debian; downloads Debian's containerd into .cache the first time)

The images are made here, pushed to a registry on loopback, pulled by `ctr`, and given the times of a node's life
through containerd's source_date_epoch. What is recorded is what `collect` reads, but for the address and the root folder, which
would be those of a temporary directory.
"""

from __future__ import annotations

import datetime as dt
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import pyarrow as pa  # noqa: E402
from testbed import ctr_stores, debian, images  # noqa: E402 -- the test bed lies beside the tests
from testbed.daemons import Daemon  # noqa: E402
from testbed.recorded_stores import Wire, message, moment  # noqa: E402
from testbed.registries import Registry, write_hosts  # noqa: E402

import imgframe as imf  # noqa: E402

HOST = "registry.example"
NOW = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
MB = 1 << 20
BASES = {"debian": (28,), "python": (28, 21), "node": (28, 36), "jre": (28, 47)}
APPS = {
    "shop": {"cart": "node", "catalog": "jre", "checkout": "jre", "search": "python"},
    "data": {"ingest": "python", "train": "python", "notebook": "python"},
    "edge": {"proxy": "debian", "cache": "debian"},
    "ops": {"agent": "debian", "backup": "python"},
}

Releases = list[tuple[str, images.Image, dt.datetime]]


def _random_layer(rng: random.Random, name: str, megabytes: float, *extra: images.Entry) -> images.Layer:
    data = rng.randbytes(int(megabytes * MB))
    folders = [images.folder("usr"), images.folder(f"usr/{name}")]
    return images.layer([*folders, *extra, images.file(f"usr/{name}/data", data)])


def _bases(rng: random.Random) -> dict[str, list[images.Layer]]:
    busybox = Path(debian.program("busybox")).read_bytes()
    tools = [
        images.folder("bin"),
        images.file("bin/busybox", busybox, 0o755),
        images.link("bin/sleep", "busybox"),
    ]
    system = _random_layer(rng, "debian", BASES["debian"][0], *tools)
    return {
        name: [system, *(_random_layer(rng, f"{name}{n}", size) for n, size in enumerate(sizes[1:]))]
        for name, sizes in BASES.items()
    }


def _releases(rng: random.Random) -> Releases:
    """Name, image and the time of its pull, for every release of every application."""
    bases = _bases(rng)
    made = []
    for team, apps in APPS.items():
        for app, base in apps.items():
            dependencies = _random_layer(rng, f"{app}-deps", rng.uniform(2, 9))
            for number in range(rng.randrange(3, 7)):
                built = NOW - dt.timedelta(days=number * rng.uniform(11, 35), hours=rng.uniform(1, 20))
                version = f"1.{9 - number}.{rng.randrange(4)}"
                layers = [*bases[base], dependencies, _random_layer(rng, app, rng.uniform(0.2, 3))]
                labels = {
                    "org.opencontainers.image.title": app,
                    "org.opencontainers.image.version": version,
                    "team": team,
                } | ({"keep": "true"} if number == 0 and team == "ops" else {})
                image = (
                    _for_two_platforms(rng, layers, labels, built)
                    if team != "edge"
                    else _docker(layers, labels, built)
                )
                made.append(
                    (f"{HOST}/{team}/{app}:{version}", image, built + dt.timedelta(hours=rng.uniform(1, 90)))
                )
    return made


def _docker(layers: list[images.Layer], labels: dict[str, str], built: dt.datetime) -> images.Image:
    return images.image(layers, docker=True, labels=labels, created=built.isoformat().replace("+00:00", "Z"))


def _for_two_platforms(
    rng: random.Random, layers: list[images.Layer], labels: dict[str, str], built: dt.datetime
) -> images.Image:
    """An index of two platforms and an attestation, of which a pull on amd64 fetches one platform's layers."""
    created = built.isoformat().replace("+00:00", "Z")
    here = images.image(layers, labels=labels, created=created, config={"User": "1000", "WorkingDir": "/app"})
    there = images.image(
        [_random_layer(rng, "arm", 0.01)], labels=labels, created=created, platform="linux/arm64/v8"
    )
    return images.index([here, there, images.attestation(here)])


def _pull(daemon: Daemon, registry: Registry, made: Releases, namespace: str) -> None:
    """Pulls with `ctr`, then writes the records again with the times they should have, the content held by a lease."""
    hosts = write_hosts(daemon.folder / "hosts", {HOST: registry.url})
    for name, _, _ in made:
        daemon.ctr("images", "pull", "--hosts-dir", hosts, name, namespace=namespace)
    with Wire(daemon, namespace) as wire:
        wire.call("leases.v1.Leases", "Create", (1, "rename"))
        for _, image, _ in made:
            resource = message((1, image.digest), (2, "content"))
            wire.call("leases.v1.Leases", "AddResource", (1, "rename"), (2, resource))
        for name, image, pulled in made:
            wire.call("images.v1.Images", "Delete", (1, name))
            target = image.descriptor
            descriptor = message((1, target["mediaType"]), (2, target["digest"]), (3, target["size"]))
            for record, labels in _records(name, image, namespace):
                fields = message((1, record), (2, labels), (3, descriptor))
                when = moment(int(pulled.timestamp() * 1e6) * 1000)
                wire.call("images.v1.Images", "Create", (1, fields), (2, when))
        wire.call("leases.v1.Leases", "Delete", (1, "rename"), (2, 1))


def _records(name: str, image: images.Image, namespace: str) -> list[tuple[str, dict[str, str]]]:
    """Names and labels of an image's records: one, or the three of the CRI."""
    if namespace != "k8s.io":
        return [(name, {})]
    config = (image.children[0] if image.children else image).document["config"]["digest"]
    labels = {"io.cri-containerd.image": "managed"}
    if "/ops/agent" in name:
        labels["io.cri-containerd.pinned"] = "pinned"
    return [(one, labels) for one in (config, name, f"{name.rpartition(':')[0]}@{image.digest}")]


def _neutral(inventory: imf.Inventory) -> imf.Inventory:
    """The same inventory with the address and root folder of an ordinary node."""
    nodes = inventory.arrow("nodes").to_pylist()
    for row in nodes:
        row["address"], row["root"] = "unix:///run/containerd/containerd.sock", "/var/lib/containerd"
    columns = {name: [row[name] for row in nodes] for name in inventory.arrow("nodes").column_names}
    table = imf.schema.table("nodes", columns)
    assert isinstance(table, pa.Table)
    return inventory.replace(nodes=table)


def main() -> None:
    """Fills a daemon, reads it, writes the folder."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "data/node"
    rng = random.Random(20261120)
    made = _releases(rng)
    # on a disk, where a file takes whole blocks, as on a node
    with Registry() as registry, Daemon("2.1", parent=Path("/var/tmp")) as daemon:
        for name, image, _ in made:
            repository, _, tag = name.removeprefix(f"{HOST}/").partition(":")
            registry.push(repository, tag, image)
        cluster = [one for one in made if one[0].split("/")[1] in {"shop", "ops"}]
        alone = [one for one in made if one not in cluster]
        _pull(daemon, registry, cluster, "k8s.io")
        _pull(daemon, registry, alone, "default")
        daemon.ctr("namespaces", "label", "default", "owner=data", namespace=None)
        for namespace, chosen in (("k8s.io", cluster), ("default", alone)):
            for number, (name, _, _) in enumerate(chosen[::3]):
                container = f"{name.split('/')[-1].partition(':')[0]}-{number}"
                verb = ("run", "-d", "--null-io") if number % 4 else ("containers", "create")
                daemon.ctr(*verb, name, container, "sleep", "100000", namespace=namespace)
        daemon.ctr("leases", "create", "--id", "pull-4f1d", "-x", "24h", namespace="default")
        ctr_stores.collect_garbage(daemon)
        inventory = imf.collect({"name": "node-1", "address": daemon.address}, usage="all", cache=False)
        print(_neutral(inventory).save(target), inventory)


if __name__ == "__main__":
    main()
