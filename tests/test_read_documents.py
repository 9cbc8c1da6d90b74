"""What ReadIndex, ReadManifest and ReadImageConfig give for every recorded image and platform.

Once on the bare store, once through the public functions on inventories of the same stores, saved and opened again.
"""

import collections
import json

import pyarrow.compute as pc
import pytest
from testbed.oci_json import go_json
from testbed.oci_vectors import dump, inventory, lines, store

import imgframe as imf
from imgframe import oci, platforms, schema
from imgframe.errors import DocumentError, InputError, NotFound
from imgframe.nerdctl.documents import config_in, index_in, manifest_in
from imgframe.nerdctl.image_list import platform_rows


def descriptor(record):
    platform = record.get("platform")
    return oci.Descriptor(
        record["mediaType"],
        record["digest"],
        record["size"],
        annotations=record.get("annotations") or None,
        platform=platform
        and platforms.Platform(platform["os"], platform["architecture"], platform.get("variant", "")),
    )


def outcome(function, *args):
    try:
        return (*function(*args), None)
    except DocumentError as error:
        return None, error.descriptor, str(error)


def written(found):
    """A document or descriptor as the vectors show it; a descriptor without a digest is none."""
    hidden = found is None or (isinstance(found, oci.Descriptor) and not found.digest)
    return None if hidden else json.loads(go_json(found))


def check(record, index, manifest, config):
    """Three outcomes (document, descriptor, error) against a vector."""
    where = record["id"]
    document, at, error = index
    assert record["index"] == {
        "children": None if document is None else [entry.digest for entry in document.manifests],
        "descriptor": at and at.digest,
        "error": error,
        "manifests": None if document is None else len(document.manifests),
    }, where
    document, at, error = manifest
    shown = document and {
        "annotations": document.annotations,
        "config": document.config.digest,
        "layers": [layer.digest for layer in document.layers],
        "media_type": document.media_type,
    }
    assert record["manifest"] == {"descriptor": written(at), "error": error, "manifest": shown}, where
    document, at, error = config
    assert record["config"] == {"config": written(document), "descriptor": written(at), "error": error}, where


def test_every_document():
    records = lines("read_documents.jsonl.gz")
    stores = {}
    for record in records:
        name = record["store"]
        if name not in stores:
            images, blobs = store(name)
            targets = {image["name"]: descriptor(image["target"]) for image in images}
            stores[name] = targets, oci.Documents(blobs.get)
        targets, documents = stores[name]
        target = targets[record["image"]]
        chosen = {"default": platforms.default, "*": platforms.all_}.get(record["platform"])
        chosen = chosen() if chosen else platforms.strict(record["platform"])
        check(
            record,
            outcome(index_in, target, documents),
            outcome(manifest_in, target, chosen, documents),
            outcome(config_in, target, chosen, documents),
        )
    print(f"read_documents.jsonl.gz: {len(records)} of {len(records)} vectors checked on bare stores")
    assert len(records) == 1511


def test_every_document_of_saved_inventories(tmp_path):
    records = lines("read_documents.jsonl.gz")
    saved = {}
    counts = collections.Counter()
    for record in records:
        name = record["store"]
        if name not in saved:
            saved[name] = imf.open_inventory(inventory(name).save(tmp_path / name))
        inv, image = saved[name], record["image"]
        platform = None if record["platform"] == "default" else record["platform"]
        counts[name] += 1
        check(
            record,
            outcome(lambda inv=inv, image=image: imf.read_index(inv, image)),
            outcome(lambda inv=inv, image=image, p=platform: imf.read_manifest(inv, image, platform=p)),
            outcome(lambda inv=inv, image=image, p=platform: imf.read_image_config(inv, image, platform=p)),
        )
    print(
        f"read_documents.jsonl.gz: {sum(counts.values())} vectors checked on saved inventories {dict(counts)}"
    )
    assert sum(counts.values()) == 1511


def test_a_live_node_answers_as_its_inventory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recorded = dump("store-1")
    inv = inventory("store-1")
    with imf.simulator.from_dump(recorded) as node:
        for image in recorded["images"][:3]:
            for read in (imf.read_index, imf.read_manifest, imf.read_image_config):
                assert outcome(lambda r=read, i=image: r(node.address, i["name"])) == outcome(
                    lambda r=read, i=image: r(inv, i["name"])
                ), image["name"]


def test_names_are_found_exactly_then_normalised():
    inv = inventory("store-2")
    assert imf.read_manifest(inv, "bitnami/redis:nightly") == imf.read_manifest(
        inv, "docker.io/bitnami/redis:nightly"
    )
    with pytest.raises(NotFound, match="there is no image named 'nope' on node 'n1'"):
        imf.read_manifest(inv, "nope", node="n1")


def test_several_stores_with_the_name_must_be_told_apart():
    both = imf.concat([inventory("store-2", "a"), inventory("store-2", "b")])
    name = "docker.io/bitnami/redis:nightly"
    with pytest.raises(InputError, match=r"2 stores have an image named .* choose with node= and namespace="):
        imf.read_index(both, name)
    assert imf.read_manifest(both, name, node="b").document is not None


def test_what_could_not_be_read_is_not_called_missing():
    inv = inventory("store-2")
    name = "docker.io/bitnami/redis:nightly"
    digest = imf.read_manifest(inv, name).descriptor.digest
    kept = [row for row in inv.arrow("documents").to_pylist() if row["digest"] != digest]
    columns = {key: [row[key] for row in kept] for key in ("digest", "data")}
    errors = {
        "node": ["n1"],
        "namespace": [dump("store-2")["namespace"]],
        "stage": ["documents"],
        "subject": [digest],
        "code": ["wrong_digest"],
        "message": ["its bytes have another digest"],
    }
    documents = schema.table("documents", columns)
    broken = inv.replace(documents=documents)
    with pytest.raises(DocumentError, match="does not hold its bytes") as caught:
        imf.read_manifest(broken, name)
    assert not isinstance(caught.value, NotFound)
    told = broken.replace(errors=schema.table("errors", errors))
    with pytest.raises(DocumentError, match="another digest") as caught:
        imf.read_manifest(told, name)
    assert caught.value.code == "wrong_digest"

    image = told.images[told.images["name"] == name]
    for source, words in ((broken, "does not hold its bytes"), (told, "its bytes have another digest")):
        usage = imf.resource_usage(source, image, platform="*")
        assert usage["total_size"].isna().all()
        assert usage["error"].str.contains(words).all()
        position = image.index.tolist()
        assert len(platform_rows(source, position)) == len(platform_rows(inv, position)) - 1


def test_a_document_of_many_namespaces_is_read_by_each_and_decoded_once(monkeypatch):
    both = imf.concat([inventory("store-2", "a"), inventory("store-2", "b")])
    name = "docker.io/bitnami/redis:nightly"
    first = imf.read_image_config(both, name, node="a")
    monkeypatch.setattr("imgframe.oci.decode.decode_config", None)
    assert imf.read_image_config(both, name, node="b").document is first.document

    blobs = both.arrow("blobs")
    held = pc.or_(pc.equal(blobs["node"], "a"), pc.not_equal(blobs["digest"], first.descriptor.digest))
    lacking = both.replace(blobs=blobs.filter(held))
    monkeypatch.undo()
    assert imf.read_image_config(lacking, name, node="a").document == first.document
    with pytest.raises(NotFound):
        imf.read_image_config(lacking, name, node="b")


def test_neither_inventory_nor_node():
    with pytest.raises(InputError, match="neither an Inventory nor a node"):
        imf.read_index(7, "alpine")
