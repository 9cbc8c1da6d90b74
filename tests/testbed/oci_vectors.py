"""Reading the vectors of platforms and documents, and the matchers that they name."""

import base64
import gzip
import json
from pathlib import Path

from imgframe import platforms

DATA = Path(__file__).parents[1] / "data"


def lines(name):
    opener = gzip.open if name.endswith(".gz") else open
    with opener(DATA / "vectors" / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def platform(record):
    return platforms.Platform(
        record["os"],
        record["architecture"],
        record["variant"],
        record["os_version"],
        tuple(record["os_features"]),
    )


def as_record(value):
    return {
        "os": value.os,
        "architecture": value.architecture,
        "variant": value.variant,
        "os_version": value.os_version,
        "os_features": list(value.os_features),
    }


def matcher(record):
    """The matcher of a vector; None stands for Go's nil."""
    kind, wanted = record["kind"], [platform(one) for one in record.get("platforms", [])]
    if kind == "nil":
        return None
    if kind == "nerdctl":
        return platforms.nerdctl(record.get("specifiers", []), all=record.get("all", False))
    if kind == "nerdctl_slice":
        return platforms.nerdctl_slice(wanted)
    if kind in {"ordered", "any"}:
        return {"ordered": platforms.ordered, "any": platforms.any_of}[kind](*wanted)
    if kind in {"all", "default", "nerdctl_inspect"}:
        return {
            "all": platforms.all_,
            "default": platforms.default,
            "nerdctl_inspect": platforms.nerdctl_inspect,
        }[kind]()
    if kind == "default_strict":
        return platforms.strict(platforms.LINUX_AMD64)
    return {
        "only": platforms.only,
        "only_strict": platforms.strict,
        "only_os": platforms.only_os,
        "new_matcher": platforms.ordered,
    }[kind](*wanted)


def store(name):
    """A recorded store: its image records, and its blobs as digest → bytes."""
    dump = json.loads((DATA / "stores" / f"{name}.json").read_text(encoding="utf-8"))
    blobs = {
        blob["digest"]: blob["text"].encode() if "text" in blob else base64.b64decode(blob["base64"])
        for blob in dump["blobs"]
        if "text" in blob or "base64" in blob
    }
    return dump["images"], blobs


def dump(name):
    """A recorded store as it was dumped."""
    return json.loads((DATA / "stores" / f"{name}.json").read_text(encoding="utf-8"))


def inventory(name, node="n1"):
    """A recorded store as the tables that hold its images and their documents."""
    from imgframe import Inventory, schema

    images, blobs = store(name)
    namespace = dump(name)["namespace"]
    documents = {digest: data for digest, data in blobs.items() if len(data) <= 8 << 20}
    return Inventory(
        {
            "nodes": schema.table("nodes", {"node": [node], "platform": ["linux/amd64"]}),
            "images": schema.table(
                "images",
                {
                    "node": [node] * len(images),
                    "namespace": [namespace] * len(images),
                    "name": [image["name"] for image in images],
                    "digest": [image["target"]["digest"] for image in images],
                    "media_type": [image["target"]["mediaType"] for image in images],
                    "target_size": [image["target"]["size"] for image in images],
                },
            ),
            "blobs": schema.table(
                "blobs",
                {
                    "node": [node] * len(blobs),
                    "namespace": [namespace] * len(blobs),
                    "digest": list(blobs),
                    "size": [len(data) for data in blobs.values()],
                },
            ),
            "documents": schema.table(
                "documents", {"digest": list(documents), "data": list(documents.values())}
            ),
        }
    )
