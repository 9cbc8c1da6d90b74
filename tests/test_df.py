"""``imgframe df``: its rows add up to the disk, which is measured where it is this machine's, and told where it is not."""

import csv
import io
import json
import random

import pytest
from testbed import naive_store, random_stores
from typer.testing import CliRunner

import imgframe as imf
from imgframe.cli.main import app
from imgframe.cli.terminal import rounded
from imgframe.collector.disk import measure
from imgframe.errors import InputError, NotFound


def df(*arguments):
    result = CliRunner().invoke(app, ["df", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture
def saved(tmp_path):
    return naive_store.inventory(naive_store.random_store(random.Random(5), nodes=3)).save(tmp_path / "saved")


@pytest.fixture
def store(fresh_daemon):
    """A daemon with images, containers, leases and half-finished writes, and nothing that its collector would take now."""
    daemon = fresh_daemon(config=random_stores.QUIET)
    random_stores.collect_now(daemon)
    random_stores.Filler(daemon, random.Random("df")).fill()
    return daemon


def test_the_disk_of_this_machine_is_reconciled_to_the_byte(store):
    said = json.loads(df("-H", store.address, "--no-cache", "--format", "json"))
    rows = {row["type"]: row for row in said["summary"]}
    assert list(rows) == ["images", "containers", "orphans", "unaccounted", "total"]
    assert rows["unaccounted"]["size"] == 0 and rows["images"]["size"] > 0
    writes = imf.collect(store.address, cache=False, progress=False).ingests["offset"].sum()
    assert rows["total"]["size"] == sum(random_stores.disk_bytes(store.root)) + writes
    assert sum(rows[name]["size"] for name in ("images", "containers", "orphans")) == rows["total"]["size"]
    assert rows["total"]["unknown"] == 0  # writable layers are asked for


def test_what_no_table_knows_is_a_row(store):
    blobs = store.root / "io.containerd.content.v1.content/blobs/sha256"
    (blobs / ("0" * 64)).write_bytes(b"x" * 5000)
    (one,) = json.loads(df("-H", store.address, "--no-cache", "--format", "json"))["disk"]
    assert one["unaccounted"] == 5000 and one["reason"] is None
    assert one["images"] + one["containers"] + one["orphans"] + one["unaccounted"] == one["total"]
    shown = df("-H", store.address, "--no-cache").splitlines()
    assert shown[4].split() == ["Unaccounted", "5kB"] and "Not reconciled" not in "".join(shown)
    table = list(csv.DictReader(io.StringIO(df("-H", store.address, "--no-cache", "--format", "csv"))))
    assert [row["size"] for row in table if row["type"] == "unaccounted"] == ["5000"]


def test_a_folder_of_another_store_is_not_measured(store):
    inv = imf.collect(store.address, cache=False, progress=False)
    node = inv.nodes["node"].iloc[0]
    forwarded = inv.replace(nodes=inv.nodes.assign(store_uuid="00000000-0000-0000-0000-000000000000"))
    assert measure(forwarded) == (
        {},
        {node: f"{store.root} on this machine is not known to be its store"},
    )
    volumes = inv.replace(snapshots=inv.snapshots.assign(snapshotter="devmapper"))
    assert measure(volumes).reasons == {
        node: f"the snapshotter devmapper keeps no folders under {store.root}"
    }


def test_without_measuring_nothing_is_called_accounted(store):
    said = json.loads(df("-H", store.address, "--no-cache", "--no-du", "--format", "json"))
    assert [row["size"] for row in said["summary"] if row["type"] == "unaccounted"] == [None]
    assert [(row["unaccounted"], row["reason"]) for row in said["disk"]] == [(None, "--no-du")]


def test_a_saved_inventory_is_not_compared_with_this_machine(saved):
    inv = imf.open_inventory(saved)
    shown = df("--from", saved).splitlines()
    assert [line.split()[0] for line in shown[:6]] == [
        "TYPE",
        "Images",
        "Containers",
        "Orphans",
        "Unaccounted",
        "Total",
    ]
    assert shown[4].split() == ["Unaccounted", "?"]
    assert shown[6] == f"Not reconciled with du: {', '.join(inv.nodes['node'])}: the inventory is a saved one"
    said = json.loads(df("--from", saved, "-v", "--format", "json"))
    assert set(said) == {"summary", "disk", "images", "orphans"}
    parts = imf.reclaiming.breakdown(inv)
    assert {row["node"]: row["total"] for row in said["disk"]} == parts[parts["part"] == "total"].set_index(
        "node"
    )["size"].to_dict()
    assert said["summary"][-1]["size"] == parts.loc[parts["part"] == "total", "size"].sum()


def test_every_image_and_every_node_has_a_line(saved):
    inv = imf.open_inventory(saved)
    parts = df("--from", saved, "-v").split("\n\n")
    assert [part.splitlines()[0] for part in parts[1:]] == ["IMAGES", "ORPHANS", "NODES"]
    assert len(parts[1].splitlines()) == 2 + len(inv.images)
    loose = imf.orphans(inv)
    assert len(parts[2].splitlines()) == 2 + len(loose)
    writes = [line for line in parts[2].splitlines() if " w0 " in line]
    assert len(writes) == (loose["key"] == "w0").sum() > 0
    assert all("30 hours ago" in write for write in writes)
    assert set(loose.loc[loose["key"] == "w0", "age"]) == {30 * 3600}
    assert len(parts[3].splitlines()) == 2 + len(inv.nodes)
    table = list(csv.DictReader(io.StringIO(df("--from", saved, "-v", "--format", "csv"))))
    assert [row["name"] for row in table] == inv.images["name"].tolist()


def test_formats_that_are_not_there_are_refused(saved):
    with pytest.raises(InputError, match="unsupported format: 'yaml'; expected table, json or csv"):
        df("--from", saved, "--format", "yaml")


def run(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_reclaim_of_many_saved_nodes_says_what_goes_and_who_keeps_the_rest(saved):
    inv = imf.open_inventory(saved)
    assert len(inv.nodes) > 1
    images = inv.images
    unused = images[(images["containers"] == 0) & ~images["used_by_digest"]]
    made = imf.reclaim(inv, unused)
    assert made.total_bytes and len(made.held)
    said = json.loads(run("reclaim", "--all", "--from", saved, "--format", "json"))
    assert (said["total_bytes"], said["garbage_bytes"]) == (made.total_bytes, made.garbage_bytes)
    assert [row["key"] for row in said["held"]] == made.held["key"].tolist()
    lines = run("reclaim", "--all", "--from", saved).splitlines()
    assert lines[0].startswith(f"{len(unused)} images would free ")
    content = made.held["kind"] == "content"
    stays = (
        made.held[content].drop_duplicates(["node", "key"])["size"].sum()
        + made.held.loc[~content, "size"].sum()
    )
    (at,) = [at for at, line in enumerate(lines) if line.endswith("of these images stay, held by")]
    assert lines[at].split()[0] == rounded(int(stays))
    several = ["NAMESPACE"] if inv.namespaces["namespace"].nunique() > 1 else []
    assert lines[at + 1].split() == ["BYTES", "ITEMS", "KIND", "HOLDER", "NODE", *several]


def test_why_answers_for_a_digest_and_for_an_image_on_every_node(saved):
    inv = imf.open_inventory(saved)
    digest = inv.images["digest"].iloc[0]
    said = json.loads(run("why", digest, "--from", saved, "--format", "json"))
    assert [row["holder"] for row in said] == imf.holders(inv, digest)["holder"].astype(object).where(
        lambda column: column.notna(), None
    ).tolist()
    assert {row["node"] for row in said} == set(inv.blobs.loc[inv.blobs["digest"] == digest, "node"])
    name = inv.images["name"].value_counts().index[0]
    said = json.loads(run("why", name, "--from", saved, "--format", "json"))
    assert {row["node"] for row in said} <= set(inv.images.loc[inv.images["name"] == name, "node"])
    assert len(said) == len(imf.explain_image(inv, name))
    assert "HELD BY" in run("why", name, "--from", saved).splitlines()[0]
    with pytest.raises(NotFound, match="no image, blob or snapshot is called 'nothing'"):
        run("why", "nothing", "--from", saved)
