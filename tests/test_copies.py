"""Copies across nodes: the rows sum exactly to all the copies there are, whoever shares what."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imgframe as imf
from imgframe import schema

NODES = ("a", "b", "c")
blobs = st.dictionaries(
    st.sampled_from([f"sha256:{at}" for at in range(6)]),
    st.tuples(st.integers(0, 1000), st.sets(st.sampled_from(NODES), min_size=1)),
)
images = st.lists(
    st.tuples(st.sampled_from(["", "web", "db", "api"]), st.sampled_from([f"sha256:{at}" for at in range(6)]))
)


def inventory(blobs, images, namespaces=("default",)):
    rows = [
        (node, namespace, digest, size)
        for digest, (size, nodes) in blobs.items()
        for node in nodes
        for namespace in namespaces
    ]
    return imf.Inventory(
        {
            "blobs": schema.table(
                "blobs",
                dict(zip(("node", "namespace", "digest", "size"), zip(*rows, strict=True), strict=True)),
            )
            if rows
            else schema.empty("blobs"),
            "images": schema.table(
                "images",
                {
                    "node": ["a"] * len(images),
                    "namespace": ["default"] * len(images),
                    "repository": [repository for repository, _ in images],
                    "digest": [digest for _, digest in images],
                },
            ),
        }
    )


@given(blobs, images)
def test_rows_sum_to_all_copies_and_are_divided_evenly(blobs, images):
    frame = imf.capacity.duplicates(inventory(blobs, images, ("default", "k8s.io")))
    twice = {digest: (size, len(nodes)) for digest, (size, nodes) in blobs.items() if len(nodes) > 1}
    assert frame["one_bytes"].sum() == sum(size for size, _ in twice.values())
    assert frame["duplicate_bytes"].sum() == sum(size * (count - 1) for size, count in twice.values())
    owners, wanted = defaultdict(set), defaultdict(int)
    for repository, digest in images:
        owners[digest].add(repository)
    for digest, (size, _) in twice.items():
        mine = sorted((owners[digest] - {""}) or ({"<no repository>"} if owners[digest] else {"<no image>"}))
        for rank, repository in enumerate(mine):
            wanted[repository] += size // len(mine) + (rank < size % len(mine))
    assert dict(zip(frame["repository"], frame["one_bytes"], strict=True)) == wanted


def test_what_hangs_on_an_index_belongs_to_its_repository():
    parts = {
        name: (10**at, {"a", "b"})
        for at, name in enumerate(("index", "manifest", "config", "layer", "other"))
    }
    whole = inventory(parts, [("web", "index")]).replace(
        manifests=schema.table(
            "manifests", {"parent_digest": ["index"], "digest": ["manifest"], "config_digest": ["config"]}
        ),
        layers=schema.table("layers", {"manifest_digest": ["manifest"], "digest": ["layer"]}),
    )
    assert imf.capacity.duplicates(whole).to_dict("records") == [
        {"repository": "<no image>", "copies": 2, "one_bytes": 10000, "duplicate_bytes": 10000},
        {"repository": "web", "copies": 2, "one_bytes": 1111, "duplicate_bytes": 1111},
    ]


@pytest.mark.parametrize("nodes", [{"a"}, {"b"}])
def test_one_node_has_no_copies(nodes):
    assert imf.capacity.duplicates(inventory({"sha256:0": (5, nodes)}, [("web", "sha256:0")])).empty
