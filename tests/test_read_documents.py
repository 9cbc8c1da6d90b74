"""What ReadIndex, ReadManifest and ReadImageConfig give for every recorded image and platform."""

import collections
import json

from oci_vectors import lines, store

from imgframe import oci, platforms
from imgframe.errors import DocumentError


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
    return None if hidden else json.loads(oci.go_json(found))


def test_every_document():
    records = lines("read_documents.jsonl.gz")
    stores = {}
    counts = collections.Counter()
    for record in records:
        name = record["store"]
        if name not in stores:
            images, blobs = store(name)
            targets = {image["name"]: descriptor(image["target"]) for image in images}
            stores[name] = targets, oci.Documents(blobs.get)
        targets, documents = stores[name]
        target, where = targets[record["image"]], record["id"]
        counts[record["class"]] += 1
        chosen = {"default": platforms.default, "*": platforms.all_}.get(record["platform"])
        chosen = chosen() if chosen else platforms.strict(record["platform"])

        index, at, error = outcome(oci.read_index, target, documents)
        assert record["index"] == {
            "children": [entry.digest for entry in index.manifests] if index is not None else None,
            "descriptor": at and at.digest,
            "error": error,
            "manifests": len(index.manifests) if index is not None else None,
        }, where
        manifest, at, error = outcome(oci.read_manifest, target, chosen, documents)
        shown = manifest and {
            "annotations": manifest.annotations,
            "config": manifest.config.digest,
            "layers": [layer.digest for layer in manifest.layers],
            "media_type": manifest.media_type,
        }
        assert record["manifest"] == {"descriptor": written(at), "error": error, "manifest": shown}, where
        config, at, error = outcome(oci.read_image_config, target, chosen, documents)
        assert record["config"] == {
            "config": written(config),
            "descriptor": written(at),
            "error": error,
        }, where
    print(f"read_documents.jsonl.gz: {len(records)} of {len(records)} vectors checked {dict(counts)}")
    assert len(records) == 1511
