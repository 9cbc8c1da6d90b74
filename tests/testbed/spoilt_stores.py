"""Stores put together blob by blob, with what a hostile or a broken node may hold."""

import hashlib
import json
from datetime import UTC, datetime

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
NOW = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp()) * 10**9


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Spoilt:
    """A dump in the making. `add` gives the descriptor of a blob; `image` names one."""

    def __init__(self, namespace="default"):
        empty = {table: [] for table in ("images", "blobs", "containers", "leases")}
        self.dump = {"namespace": namespace, "snapshots": {"overlayfs": []}, **empty}

    def add(self, content, media_type=MANIFEST, *, digest=None, size=None, **more):
        """A blob of text, bytes, or a JSON value; `digest` and `size` may lie."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = digest or digest_of(data)
        known = {blob["digest"] for blob in self.dump["blobs"]}
        if digest not in known:
            blob = {"digest": digest, "size": len(data), "labels": {}, "created_at_ns": NOW}
            self.dump["blobs"].append({**blob, "text": data.decode()})
        return {"mediaType": media_type, "digest": digest, "size": size or len(data), **more}

    def image(self, name, target, labels=None, at=NOW):
        moments = {"created_at_ns": at, "updated_at_ns": at}
        target = {key: target[key] for key in ("mediaType", "digest", "size")} | {"annotations": {}}
        self.dump["images"].append({"name": name, "labels": labels or {}, "target": target, **moments})

    def manifest(self, *, layers=1, labels=None, **more):
        """A whole small image; gives the descriptor of its manifest."""
        diff_ids = [digest_of(f"diff {n} {more}".encode()) for n in range(layers)]
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        config = self.add({**config, "config": {"Labels": labels or {}}}, CONFIG)
        parts = [
            {"mediaType": LAYER, "digest": digest_of(f"layer {n}".encode()), "size": 9} for n in range(layers)
        ]
        return self.add(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": parts, **more}
        )

    def index(self, *children):
        return self.add({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children)}, INDEX)
