"""An Inventory is frozen, is saved whole or not at all, and is read back equal dtype for dtype."""

import errno
import os
import random
import subprocess

import hypothesis.strategies as st
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

import imgframe as imf
from imgframe import schema
from imgframe.errors import InputError, SchemaError

NS = 1_700_000_000_123_456_789


def small(node="a"):
    return imf.Inventory(
        {
            "nodes": schema.table(
                "nodes", {"node": [node], "collected_at": [NS], "seconds": [0.5], "status": ["ok"]}
            ),
            "images": schema.table(
                "images",
                {
                    "node": [node, node],
                    "namespace": ["default", "k8s.io"],
                    "name": ["b:1", "a:1"],
                    "digest": ["sha256:1", None],
                    "record_labels": ['{"k":"v","z":"1"}', "{}"],
                    "pinned": [True, None],
                    "created_at": [NS, None],
                    "content_size": [2**53 + 1, None],
                },
            ),
            "configs": schema.table("configs", {"digest": ["sha256:c"], "labels": ['{"team":"web"}']}),
            "leases": schema.table(
                "leases",
                {
                    "node": [node] * 2,
                    "namespace": ["default"] * 2,
                    "id": ["l"] * 2,
                    "labels": ['{"e":"1"}'] * 2,
                    "resource": ["x", "y"],
                },
            ),
            "documents": schema.table("documents", {"digest": ["sha256:c"], "data": [b"{}"]}),
        }
    )


def assert_equal(left, right):
    for name in schema.TABLES:
        assert left.arrow(name).equals(right.arrow(name)), name
        pd.testing.assert_frame_equal(getattr(left, name), getattr(right, name), check_exact=True)


def test_round_trip_is_equal_dtype_for_dtype(tmp_path):
    inventory = small()
    assert inventory.save(tmp_path / "x") == tmp_path / "x"
    assert_equal(imf.open_inventory(tmp_path / "x"), inventory)


def test_saving_again_replaces_the_whole(tmp_path):
    small("a").save(tmp_path / "x")
    small("b").save(tmp_path / "x")
    assert imf.open_inventory(tmp_path / "x").nodes["node"].tolist() == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_dtypes_do_not_depend_on_missing_values():
    full, none = small().images.dtypes, imf.Inventory({}).images.dtypes
    assert [str(t).split(",")[0] for t in full] == [str(t).split(",")[0] for t in none]
    assert str(full["content_size"]) == "Int64"
    assert str(full["pinned"]) == "boolean"
    assert str(full["created_at"]) == "datetime64[ns, UTC]"
    assert small().images["content_size"][0] == 2**53 + 1


def test_categories_are_sorted_and_nothing_is_lost_below_a_second():
    frame = small().images
    assert frame["name"].cat.categories.tolist() == ["a:1", "b:1"]
    assert frame.sort_values("name")["name"].tolist() == ["a:1", "b:1"]
    assert frame["created_at"][0].value == NS


def test_frozen_and_frames_are_the_users_own():
    inventory = small()
    with pytest.raises(AttributeError, match="frozen"):
        inventory.images = None
    frame = inventory.images
    frame["more"] = 1
    frame.loc[0, "content_size"] = 5
    assert "more" not in inventory.images
    assert inventory.images["content_size"][0] == 2**53 + 1


def test_long_labels_count_each_owner_once():
    labels = small().labels
    rows = labels[["owner_kind", "owner", "key", "value"]].astype(str).values.tolist()
    assert rows == [
        ["record", "b:1", "k", "v"],
        ["record", "b:1", "z", "1"],
        ["config", "sha256:c", "team", "web"],
        ["lease", "l", "e", "1"],
    ]
    assert labels["node"].isna().tolist() == [False, False, True, False]


def test_concat_unites_nodes_and_keeps_documents_once():
    whole = imf.concat([small("a"), small("b")])
    assert whole.images["node"].tolist() == ["a", "a", "b", "b"]
    assert len(whole.configs) == len(whole.documents) == 1
    with pytest.raises(InputError, match="node 'a' is in more than one inventory"):
        imf.concat([small("a"), small("a")])


def test_plain_strings_of_other_tools_become_the_same_table():
    frame = small().images.astype({"name": "object", "digest": "object", "content_size": "float64"})
    assert schema.from_frame("images", frame)["name"].to_pylist() == ["b:1", "a:1"]
    assert schema.from_frame("images", small().images).equals(small().arrow("images"))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda d: (d / "images.parquet").unlink(), "has no images.parquet"),
        (lambda d: (d / "nodes.parquet").unlink(), "not a saved inventory"),
        (lambda d: (d / "images.parquet").write_bytes(b"PAR1 no"), "cannot be read as Parquet"),
        (lambda d: pq.write_table(pa.table({"a": [1]}), d / "images.parquet"), "schema version none"),
    ],
)
def test_what_is_not_understood_is_refused_with_one_sentence(tmp_path, spoil, sentence):
    small().save(tmp_path / "x")
    spoil(tmp_path / "x")
    with pytest.raises(SchemaError, match=sentence):
        imf.open_inventory(tmp_path / "x")


@pytest.mark.parametrize("column", ["rpcs", "collected_at", "status", "seconds"])
def test_a_column_of_another_type_is_refused(tmp_path, column):
    small().save(tmp_path / "x")
    file = tmp_path / "x" / "nodes.parquet"
    whole = pq.read_table(file)
    at = whole.schema.get_field_index(column)
    pq.write_table(whole.set_column(at, column, pa.array([{"a": 1}])), file)
    with pytest.raises(SchemaError, match=rf"nodes.parquet' has struct<a: int64> in column '{column}'"):
        imf.open_inventory(tmp_path / "x")


def test_damaged_bytes_are_refused_and_never_other_values(tmp_path):
    whole = small()
    whole.save(tmp_path / "x")
    file = tmp_path / "x" / "images.parquet"
    good, rng, refused = file.read_bytes(), random.Random(11), 0
    for _ in range(150):
        data = bytearray(good)
        for at in rng.sample(range(len(data)), rng.randint(1, 3)):
            data[at] ^= rng.randint(1, 255)
        file.write_bytes(data[: rng.randint(0, len(data))] if rng.random() < 0.2 else data)
        try:
            opened = imf.open_inventory(tmp_path / "x")
        except SchemaError:
            refused += 1
        else:  # a byte that says nothing about the values, such as a statistic
            assert_equal(opened, whole)
    assert refused > 100


def test_another_schema_version_is_refused(tmp_path):
    small().save(tmp_path / "x")
    file = tmp_path / "x" / "blobs.parquet"
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({"imgframe.schema_version": "99"}), file)
    with pytest.raises(SchemaError, match="schema version 99; this imgframe reads version 2"):
        imf.open_inventory(tmp_path / "x")


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match="is not a saved inventory"):
        small().save(tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full to stand for a full disk")
def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch):
    small("old").save(tmp_path / "x")
    write = pq.write_table

    def on_a_full_disk(table, where, **options):
        if str(where).endswith("snapshots.parquet"):
            with open("/dev/full", "wb", buffering=0) as full:
                full.write(b"x")
        write(table, where, **options)

    monkeypatch.setattr(pq, "write_table", on_a_full_disk)
    with pytest.raises(OSError, match="No space") as caught:
        small("new").save(tmp_path / "x")
    assert caught.value.errno == errno.ENOSPC
    assert imf.open_inventory(tmp_path / "x").nodes["node"].tolist() == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_unknown_tables_and_columns_are_named():
    with pytest.raises(InputError, match="'imgs' is not a table"):
        imf.Inventory({"imgs": pd.DataFrame()})
    with pytest.raises(SchemaError, match="has no column 'nope'"):
        schema.table("images", {"nope": []})
    with pytest.raises(AttributeError, match="no table 'imgs'"):
        _ = imf.Inventory({}).imgs


TEXTS = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=6))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            TEXTS, st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), st.one_of(st.none(), st.booleans())
        ),
        max_size=20,
    )
)
def test_table_and_frame_agree_on_any_values(rows):
    names, sizes, pins = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    table = schema.table(
        "images", {"name": names, "content_size": sizes, "pinned": pins, "created_at": sizes}
    )
    frame = schema.to_frame(table)
    words = table["name"].combine_chunks().dictionary.to_pylist()
    assert words == sorted({name for name in names if name is not None})
    assert [None if pd.isna(v) else v for v in frame["name"]] == names
    assert [None if pd.isna(v) else int(v) for v in frame["content_size"]] == sizes
    assert [None if pd.isna(v) else bool(v) for v in frame["pinned"]] == pins
    assert schema.concat("images", [table, table])["name"].to_pylist() == names * 2


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with 1 MiB; only root can have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_is_full_or_read_only_leaves_the_old_report(small_disk):
    target = small("old").save(small_disk / "report")
    old = {path.name: path.read_bytes() for path in target.iterdir()}
    rng = random.Random(7)
    blobs = pd.DataFrame(
        {"node": "new", "digest": [f"sha256:{rng.randbytes(32).hex()}" for _ in range(60_000)]}
    )
    new = small("new").replace(blobs=blobs)

    def refused(code, where):
        with pytest.raises(OSError, match="nothing was saved") as caught:
            new.save(where)
        assert (caught.value.errno, caught.value.filename) == (code, str(where))
        assert {path.name: path.read_bytes() for path in target.iterdir()} == old
        assert [path.name for path in small_disk.iterdir()] == ["report"]

    refused(errno.ENOSPC, target)
    refused(errno.ENOSPC, small_disk / "another")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused(errno.EROFS, target)
    refused(errno.EROFS, small_disk / "another")
    assert imf.open_inventory(target).nodes["node"].tolist() == ["old"]
