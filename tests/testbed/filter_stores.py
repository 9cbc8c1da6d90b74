"""The recorded stores as inventories, and the recorded filter calls as our filters."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from pathlib import Path

import numpy as np

import imgframe as imf
from imgframe import oci, platforms, schema
from imgframe.errors import DocumentError
from imgframe.filters import bounds, times
from imgframe.golang import time as gotime

DATA = Path(__file__).parents[1] / "data"
STORES = ("store-1", "store-2", "store-3", "store-4")


@functools.cache
def lines(name):
    opener = gzip.open if name.endswith(".gz") else open
    with opener(DATA / "vectors" / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@functools.cache
def dump(store):
    return json.loads((DATA / "stores" / f"{store}.json").read_text(encoding="utf-8"))


def config_labels(store):
    """Per image of the store its config labels as JSON text, None where no config can be read."""
    blobs = {
        blob["digest"]: blob["text"].encode() if "text" in blob else base64.b64decode(blob["base64"])
        for blob in dump(store)["blobs"]
    }
    matcher = platforms.default()
    found = []
    for image in dump(store)["images"]:
        target = image["target"]
        descriptor = oci.Descriptor(target["mediaType"], target["digest"], target["size"])
        try:
            config = oci.resolve(descriptor, matcher, blobs.get).config
        except DocumentError:
            config = None
        found.append(None if config is None else as_json(config.config.labels))
    return found


def as_json(labels):
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


@functools.cache
def inventory(store):
    """The store as an Inventory of one node that has the store's name."""
    images, containers = dump(store)["images"], dump(store)["containers"]
    where = {"node": [store] * len(images), "namespace": [dump(store)["namespace"]] * len(images)}
    targets = [image["target"] for image in images]
    created = np.array([gotime.saturate(image["created_at_ns"]) for image in images], dtype="int64")
    table = schema.table(
        "images",
        {
            **where,
            "name": [image["name"] for image in images],
            "digest": [target["digest"] for target in targets],
            "media_type": [target["mediaType"] for target in targets],
            "created_at": created.view("datetime64[ns]"),
            "record_labels": [as_json(image["labels"]) for image in images],
            "labels": config_labels(store),
        },
    )
    held = schema.table(
        "containers",
        {
            "node": [store] * len(containers),
            "namespace": [dump(store)["namespace"]] * len(containers),
            "id": [container["id"] for container in containers],
            "image": [container["image"] for container in containers],
        },
    )
    return imf.Inventory({"images": table, "containers": held})


def go_filter(call, now_ns, *, verbatim=False):
    """The filter of a recorded call; ``verbatim`` reads entries of before and since as Go does, bare fields too."""
    if call["fn"] == "FilterByCreatedAt" and verbatim:
        entries = [[bounds.verbatim(each) for each in call.get(key) or ()] for key in ("before", "since")]
        return times._ByCreatedAt(*entries, None, now_ns)
    return {
        "FilterByCreatedAt": lambda: imf.filter_by_created_at(
            call.get("before") or (), call.get("since") or (), now=now_ns
        ),
        "FilterUntil": lambda: imf.filter_until(call["until"], now=now_ns),
        "FilterByLabel": lambda: imf.filter_by_label(call["labels"] or {}),
        "FilterByReference": lambda: imf.filter_by_reference(call["references"] or ()),
        "FilterDanglingImages": imf.filter_dangling_images,
        "FilterTaggedImages": imf.filter_tagged_images,
    }[call["fn"]]()


def has_bare_field(case):
    """Whether an entry of before or since is a bare field for Go, where our public function takes it for a name."""
    entries = [each for call in case["calls"] for key in ("before", "since") for each in call.get(key) or ()]
    return any(each in {"name", "labels", "labels.x"} for each in entries)
