"""Stores that containerd's own `ctr` fills: pulled from a real registry, or a thousand generated images imported."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from testbed import debian, images
from testbed.daemons import Daemon
from testbed.recorded_stores import Wire
from testbed.registries import Registry, write_hosts

HOST = "registry.example"
NAMESPACES = ("default", "k8s.io", "team.a")


class FilledStore(NamedTuple):
    """A daemon and what was put into it, by image name (the pulled ones as the registry serves them)."""

    daemon: Daemon
    catalogue: dict[str, images.Image]


def filled(daemon: Daemon, registry: Registry | None) -> FilledStore:
    """Fills a daemon from the registry, or without one with 1,000 generated images."""
    try:
        if registry is None:
            return FilledStore(daemon, fill_generated(daemon))
        fill_by_pull(daemon, registry)
    except BaseException:
        daemon.stop()
        raise
    return FilledStore(
        daemon, {f"{HOST}/{repository}:{tag}": image for (repository, tag), image in catalogue().items()}
    )


def catalogue() -> dict[tuple[str, str], images.Image]:
    """What the registry of the tests serves, by repository and tag."""
    busybox = Path(debian.program("busybox")).read_bytes()
    tools = images.layer(
        [
            *(images.folder("bin"), images.file("bin/busybox", busybox, 0o755), images.folder("tmp")),
            *(images.link(f"bin/{name}", "busybox") for name in ("sh", "sleep", "cat", "true")),
        ]
    )
    base = [images.rootfs("base"), images.layer([images.file("etc/base", b"base" * 2000)], "zstd")]
    steps = [images.layer([images.file(f"step/{n}", bytes([n]) * 1000 * n)]) for n in range(10)]
    rich = images.rich_index()
    return {
        ("team/rich", "1.0"): rich,
        ("team/docker", "1.0"): images.rich_index("docker", docker=True),
        ("team/arm", "1.0"): images.index([images.image([images.rootfs("arm")], platform="linux/arm64/v8")]),
        ("library/tools", "latest"): images.image([tools], config={"Cmd": ["sleep", "100000"]}, docker=True),
        ("team/base", "1"): images.image(base),
        ("team/child", "1"): images.image([*base, *steps[:2]], labels={"from": "base", "odd": 'a=b,"c" <d>'}),
        ("team/deep", "1"): images.image([*base, *steps]),
        ("team/twice", "1"): images.image([base[0], steps[0], steps[0]], created=None),
        ("team/nested", "1"): images.index([images.index([images.image([base[0], steps[3]])]), rich]),
    }


def serve(registry: Registry) -> dict[tuple[str, str], images.Image]:
    """Pushes the catalogue; gives it back."""
    built = catalogue()
    for (repository, tag), image in built.items():
        registry.push(repository, tag, image)
    return built


def fill_by_pull(daemon: Daemon, registry: Registry) -> None:
    """Three namespaces of pulled images with all that a node gathers: tags, holes, containers, leases, snapshots, ingests."""
    hosts = write_hosts(daemon.folder / "hosts", {HOST: registry.url, "docker.io": registry.url})

    def pull(name: str, *options: str, namespace: str = "default") -> None:
        daemon.ctr("images", "pull", "--hosts-dir", hosts, *options, name, namespace=namespace)

    for repository in ("team/rich:1.0", "team/base:1", "team/child:1", "team/deep:1", "team/twice:1"):
        pull(f"{HOST}/{repository}")
    pull(f"{HOST}/team/docker:1.0", "--all-platforms")
    pull("docker.io/library/tools:latest", "--label", "io.x/a b=c d,e", "--label", "x=y")
    # 2.x's transfer service unpacks only into the snapshotters of its configuration; the client itself into any
    local = ["--local"] if daemon.version.startswith("2.") else []
    pull(f"{HOST}/team/base:1", "--snapshotter", "native", *local)
    pull(f"{HOST}/team/arm:1.0", "--platform", "linux/arm64")
    daemon.ctr("content", "fetch", "--hosts-dir", hosts, f"{HOST}/team/nested:1")
    daemon.ctr(
        "images", "tag", f"{HOST}/team/child:1", f"{HOST}/team/child:stable", "docker.io/library/child:latest"
    )
    daemon.ctr("namespaces", "label", "default", "owner=core", namespace=None)
    daemon.ctr("namespaces", "create", "empty", namespace=None)
    _fill_k8s(daemon, pull)
    _fill_with_holes(daemon, pull)
    _fill_with_state(daemon)


def _fill_k8s(daemon: Daemon, pull) -> None:
    """The three records that the CRI writes for an image, and a pinned one."""
    for repository, pinned in (("team/docker:1.0", False), ("team/base:1", True)):
        name = f"{HOST}/{repository}"
        pull(name, namespace="k8s.io")
        digest = rows(daemon.ctr("images", "ls", f"name=={name}", namespace="k8s.io"), *IMAGE_COLUMNS)[0][
            "DIGEST"
        ]
        names = [name, f"{name.rpartition(':')[0]}@{digest}", f"sha256:{digest[7:][::-1]}"]
        daemon.ctr("images", "tag", *names, namespace="k8s.io")
        marks = ["io.cri-containerd.image=managed", *(["io.cri-containerd.pinned=pinned"] if pinned else [])]
        for one in names:
            daemon.ctr("images", "label", one, *marks, namespace="k8s.io")


def _fill_with_holes(daemon: Daemon, pull) -> None:
    """Images of which a layer, a config or the manifest is gone."""
    for repository, part in (
        ("team/child:1", "layer"),
        ("team/rich:1.0", "config"),
        ("team/base:1", "manifest"),
    ):
        name = f"{HOST}/{repository}"
        pull(name, namespace="team.a")
        image = catalogue()[tuple(repository.split(":"))]
        one = image.children[0] if image.children else image
        gone = {
            "layer": one.layers[-1].digest,
            "config": one.document["config"]["digest"],
            "manifest": one.digest,
        }[part]
        daemon.ctr("content", "rm", gone, namespace="team.a")


def _fill_with_state(daemon: Daemon) -> None:
    """Containers with and without a task, leases, snapshots of every kind, an ingest that was never finished."""
    daemon.ctr(
        "containers", "create", "--label", "q=r", f"{HOST}/team/child:1", f"created-{daemon.tag}", "sh"
    )
    daemon.ctr(
        "run", "-d", "--null-io", "docker.io/library/tools:latest", f"running-{daemon.tag}", "sleep", "100000"
    )
    daemon.ctr(
        "run", "-d", "--null-io", "docker.io/library/tools:latest", f"paused-{daemon.tag}", "sleep", "100000"
    )
    daemon.ctr("tasks", "pause", f"paused-{daemon.tag}")
    daemon.ctr("leases", "create", "--id", "brief", "-x", "1h", "k=v")
    daemon.ctr("leases", "create", "--id", "long", "-x", "9000h", namespace="team.a")
    committed = next(
        row["KEY"]
        for row in rows(daemon.ctr("snapshots", "ls"), *SNAPSHOT_COLUMNS)
        if row["KIND"] == "Committed"
    )
    with Wire(
        daemon, "default"
    ) as wire:  # ctr labels a view only after it is made: the collector may come between
        fields = ((1, "overlayfs"), (2, "look"), (3, committed), (4, {"containerd.io/gc.root": "test"}))
        wire.call("snapshots.v1.Snapshots", "View", *fields)
    daemon.ctr("snapshots", "prepare", "scratch")
    daemon.ctr("snapshots", "label", "scratch", "a=b")
    daemon.ctr("snapshots", "--snapshotter", "native", "prepare", "native scratch")
    wrong = f"sha256:{'0' * 64}"
    unfinished = daemon.ctr_process(
        "content", "ingest", "--expected-digest", wrong, "half", stdin=b"half" * 1000
    )
    assert unfinished.returncode, "an ingest of the wrong digest was accepted"
    collect_garbage(daemon)


def collect_garbage(daemon: Daemon) -> None:
    """Waits until the daemon has swept, so that nothing it decided before disappears later."""
    daemon.ctr("leases", "create", "--id", "sweep")
    daemon.ctr("leases", "delete", "--sync", "sweep")


def fill_generated(daemon: Daemon, namespace: str = "default", count: int = 1000) -> dict[str, images.Image]:
    """Imports generated images with `ctr`, half of them unpacked; gives them by name."""
    named = dict(images.generated(count))
    halves = (list(named.items())[: count // 2], list(named.items())[count // 2 :])
    with tempfile.TemporaryDirectory(dir=daemon.folder) as folder:
        for half, options in zip(halves, ((), ("--no-unpack",)), strict=True):
            images.write_archive(Path(folder) / "archive.tar", half)
            daemon.ctr(
                "images", "import", *options, f"{folder}/archive.tar", namespace=namespace, timeout=280
            )
    collect_garbage(daemon)  # the index of the archive itself
    return named


IMAGE_COLUMNS = ("REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS")
CHECK_COLUMNS = ("REF", "TYPE", "DIGEST", "STATUS", "SIZE", "UNPACKED")
SNAPSHOT_COLUMNS = ("KEY", "PARENT", "KIND")
USAGE_COLUMNS = ("KEY", "SIZE", "INODES")
LEASE_COLUMNS = ("ID", "CREATED AT", "LABELS")
CONTAINER_COLUMNS = ("CONTAINER", "IMAGE", "RUNTIME")
TASK_COLUMNS = ("TASK", "PID", "STATUS")
NAMESPACE_COLUMNS = ("NAME", "LABELS")


def rows(text: str, *columns: str) -> list[dict[str, str]]:
    """The rows of a table that `ctr` aligned under its header, cut at the header's columns."""
    if not text:
        return []
    header, *lines = text.splitlines()
    starts = [0]
    for column in columns[1:]:
        starts.append(header.index(column, starts[-1] + 1))
    bounds = list(zip(columns, starts, [*starts[1:], None], strict=True))
    return [
        {column: line[start:end].strip() for column, start, end in bounds} for line in lines if line.strip()
    ]


def content_rows(text: str) -> list[dict[str, str]]:
    """The rows of `ctr content ls`, which separates them by tabs."""
    names = ("DIGEST", "SIZE", "AGE", "LABELS")
    cells = [[cell for cell in line.split("\t") if cell] for line in text.splitlines()[1:]]
    return [dict(zip(names, cell, strict=True)) for cell in cells if cell]


def namespaces(daemon: Daemon) -> list[str]:
    """All namespaces by `ctr`."""
    return daemon.ctr("namespaces", "ls", "-q", namespace=None).split()
