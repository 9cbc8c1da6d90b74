"""Random stores as plain dicts, the tables of an inventory made from them, and containerd's collector in a few loops."""

import json
import random
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import imgframe as imf
from imgframe import schema

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
VERSIONS = ("1.6.20~ds1", "1.7.24", "2.0.5", "2.1.9+unknown", "v2.2.1", "2.3.7", "2.4.2+unknown")
OCI = "application/vnd.oci.image."


@dataclass
class Store:
    """Keys: blobs (node, ns, digest); snapshots (node, ns, snapshotter, key); the others (node, ns, name)."""

    nodes: dict = field(default_factory=dict)
    documents: dict = field(default_factory=dict)
    sizes: dict = field(default_factory=dict)
    blobs: dict = field(default_factory=dict)
    snapshots: dict = field(default_factory=dict)
    images: dict = field(default_factory=dict)
    containers: dict = field(default_factory=dict)
    leases: dict = field(default_factory=dict)
    ingests: dict = field(default_factory=dict)
    sandboxes: dict = field(default_factory=dict)


def release(version):
    major, minor = version.lstrip("v").split(".")[:2]
    return int(major), int(minor)


def stamp(hours):
    return (NOW + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def random_store(rng: random.Random, *, nodes=2, odd=True) -> Store:
    """Images of shared layers in two namespaces of each node; ``odd`` adds all that a collector may meet."""
    store = Store(nodes={f"n{i}": rng.choice(VERSIONS) for i in range(rng.randint(1, nodes))})
    _documents(rng, store)
    for node in store.nodes:
        for ns in ("default", "k8s.io")[: rng.randint(1, 2)]:
            _fill(rng, store, node, ns, odd=odd)
    return store


def _documents(rng, store):
    for i in range(5):
        layers = [f"L{rng.randint(0, 5)}" for _ in range(rng.randint(0, 4))]
        store.documents[f"M{i}"] = {"config": f"C{rng.randint(0, 3)}", "layers": layers}
    for i in range(3):
        children = rng.sample(["M0", "M1", "M2", "M3", "M4"], rng.randint(1, 3))
        store.documents[f"I{i}"] = {
            "manifests": children + ([f"I{i - 1}"] if i and rng.random() < 0.3 else [])
        }
    for name in [f"{kind}{i}" for kind, n in (("L", 6), ("C", 4), ("M", 5), ("I", 3)) for i in range(n)]:
        store.sizes[name] = rng.randint(1, 1000)


def chain(store, manifest):
    """Keys of the chain of a manifest: one per layer, as the config tells; equal configs give equal chains."""
    config = store.documents[manifest]["config"]
    count = {"C0": 1, "C1": 2, "C2": 3, "C3": 0}[config]
    base = {"C0": "x", "C1": "x", "C2": "x", "C3": ""}[config]
    return ["sha256:" + base * (i + 1) for i in range(count)]


def parts(store, digest):
    doc = store.documents.get(digest, {})
    return [*doc.get("manifests", ()), *([doc["config"]] if "config" in doc else ()), *doc.get("layers", ())]


def _labels(rng, store, digest):
    doc = store.documents.get(digest, {})
    labels = {"containerd.io/distribution.source.example": "a/b"}
    for i, child in enumerate(doc.get("manifests", ())):
        labels[f"containerd.io/gc.ref.content.m.{i}"] = child
    if "config" in doc:
        labels["containerd.io/gc.ref.content.config"] = doc["config"]
        if rng.random() < 0.85:
            labels |= {f"containerd.io/gc.ref.content.l.{i}": layer for i, layer in enumerate(doc["layers"])}
    return labels


def _fill(rng, store, node, ns, *, odd):
    for digest, size in store.sizes.items():
        if rng.random() < 0.8:
            store.blobs[node, ns, digest] = {"size": size, "labels": _labels(rng, store, digest)}
    for kind in ("overlayfs", "native")[: rng.randint(1, 2)]:
        for manifest in ("M0", "M1", "M2", "M3", "M4"):
            _unpack(rng, store, node, ns, kind, manifest)
    for i in range(rng.randint(0, 6)):
        target = rng.choice(["M0", "M1", "M2", "M3", "M4", "I0", "I1", "I2", "gone"])
        store.images[node, ns, f"example/app:{i}"] = {"digest": target, "labels": {}}
    if odd:
        _oddities(rng, store, node, ns)


def _unpack(rng, store, node, ns, kind, manifest):
    if rng.random() < 0.4:
        return
    parent = ""
    for key in chain(store, manifest):
        size = len(key) * 10 + len(kind)
        store.snapshots.setdefault(
            (node, ns, kind, key),
            {"parent": parent, "kind": "committed", "size": size, "inodes": len(key), "labels": {}},
        )
        parent = key
    config = store.blobs.get((node, ns, store.documents[manifest]["config"]))
    if parent and config and rng.random() < 0.8:
        config["labels"][f"containerd.io/gc.ref.snapshot.{kind}"] = parent


def _oddities(rng, store, node, ns):
    here = [key for key in store.snapshots if key[:2] == (node, ns)]
    for i in range(rng.randint(0, 3)):
        above = rng.choice([None, *here])
        kind = above[2] if above else "overlayfs"
        key = f"active-{i}"
        store.snapshots[node, ns, kind, key] = {
            "parent": above[3] if above else "",
            "kind": rng.choice(["active", "view"]),
            "size": rng.choice([None, 7]),
            "inodes": rng.choice([None, 1]),
            "labels": rng.choice(
                [{}, {}, {"containerd.io/gc.root": "x"}, {"containerd.io/gc.ref.content": "L0"}]
            ),
        }
        if rng.random() < 0.5:
            store.containers[node, ns, f"c{i}"] = {
                "image": f"example/app:{i}",
                "snapshotter": kind,
                "snapshot_key": key,
                "labels": rng.choice([{}, {"containerd.io/gc.ref.content/x": "L1"}]),
            }
    if here and rng.random() < 0.2:
        store.snapshots[rng.choice(here)]["parent"] = rng.choice(["nowhere", rng.choice(here)[3]])
    _odd_labels(rng, store, node, ns)
    _odd_sandboxes(rng, store, node, ns)
    _conditions(rng, store, node, ns)
    _odd_leases(rng, store, node, ns)
    for i in range(rng.randint(0, 2)):
        store.ingests[node, ns, f"w{i}"] = {
            "offset": 50 + i,
            "started_at": NOW - timedelta(hours=rng.choice([1, 30])),
        }


def _odd_labels(rng, store, node, ns):
    blobs = [key for key in store.blobs if key[:2] == (node, ns)]
    odd = [
        {"containerd.io/gc.root": "yes"},
        {"containerd.io/gc.rootless": "yes"},
        {"containerd.io/gc.ref.contentx": "L2"},
        {"containerd.io/gc.ref.content": "L3"},
        {"containerd.io/gc.ref.content/any": "M1"},
        {"containerd.io/gc.ref.image.x": "example/app:0"},
        {"containerd.io/gc.bref.content": "L4"},
        {"containerd.io/gc.bref.image": "example/app:1"},
        {"containerd.io/gc.bref.snapshot.native/x": "sha256:x"},
        {"containerd.io/gc.bref.container.x": "c0"},
        {"containerd.io/gc.ref.snapshot.overlayfs/b": "sha256:xx"},
    ]
    for _ in range(rng.randint(0, 3)):
        if blobs:
            store.blobs[rng.choice(blobs)]["labels"] |= rng.choice(odd)
    for (n, s, _), image in store.images.items():
        if (n, s) == (node, ns) and rng.random() < 0.3:
            image["labels"] |= rng.choice(
                [
                    {"containerd.io/gc.expire": stamp(-1)},
                    {"containerd.io/gc.expire": stamp(1)},
                    {"containerd.io/gc.expire": "soon"},
                    {"containerd.io/gc.ref.content.x": "L5"},
                    {"containerd.io/gc.ref.snapshot.native": "sha256:x"},
                    {"containerd.io/gc.bref.content": "M2", "containerd.io/gc.expire": stamp(-1)},
                ]
            )


def _odd_sandboxes(rng, store, node, ns):
    if release(store.nodes[node]) < (1, 7):
        return
    for i in range(rng.randint(0, 2)):
        store.sandboxes[node, ns, f"s{i}"] = {
            "labels": rng.choice(
                [
                    {},
                    {"containerd.io/gc.ref.content.x": rng.choice(["L0", "M1", "gone"])},
                    {"containerd.io/gc.ref.snapshot.overlayfs": "sha256:xx"},
                    {"containerd.io/gc.ref.image": "example/app:1"},
                    {"containerd.io/gc.bref.content": "L1", "containerd.io/gc.root": "x"},
                ]
            )
        }


def _conditions(rng, store, node, ns):
    """Conditions of blobs and images, and times of snapshots: on any release, where those before 2.3 ignore them."""
    owners = [
        value for part in (store.blobs, store.images) for key, value in part.items() if key[:2] == (node, ns)
    ]
    for _ in range(rng.randint(0, 3)):
        kind, key = rng.choice(["overlayfs", "native"]), rng.choice(["sha256:x", "sha256:xx", "nowhere"])
        said = rng.choice(
            [
                "usedat<24h",
                "usedat>24h",
                "usedat<-1h",
                "usedat<1h,usedat>100h",
                "other=1,usedat<90m",
                "usedat<=24h",
                "usedat=24h",
                "usedat<soon",
                "unknown<24h",
                "",
            ]
        )
        if owners:
            label = f"containerd.io/gc.cond.snapshot.{kind}{rng.choice(['', '/x', '/y'])}"
            rng.choice(owners)["labels"][label] = rng.choice([f"{said}|{key}", f"{said}|{key}", said or key])
    for key, value in store.snapshots.items():
        if key[:2] == (node, ns) and rng.random() < 0.5:
            when = rng.choice([stamp(-2), stamp(-2), stamp(-48), stamp(48), "long ago"])
            value["labels"] = {**value["labels"], "containerd.io/gc.cond.value-usedat": when}
            if rng.random() < 0.1:
                value["labels"]["containerd.io/gc.cond.value-usedat.x"] = stamp(-200)


def _odd_leases(rng, store, node, ns):
    for i in range(rng.randint(0, 2)):
        labels = rng.choice(
            [{}, {"containerd.io/gc.expire": stamp(-2)}, {"containerd.io/gc.expire": stamp(3)}]
        )
        if rng.random() < 0.4:
            labels = {**labels, "containerd.io/gc.flat": "true"}
        choices = [("content", d) for d in ("I0", "M3", "L1", "gone")]
        choices += [("snapshots/overlayfs", "sha256:xx"), ("ingests", "w0"), ("images", "example/app:2")]
        if release(store.nodes[node]) < (2, 0):
            choices.pop()
        store.leases[node, ns, f"lease{i}"] = {
            "labels": labels,
            "resources": rng.sample(choices, rng.randint(0, 3)),
        }


# ---- tables


def _json(labels):
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _rows(table, keys, items, **columns):
    made = {name: [key[i] for key in items] for i, name in enumerate(keys)}
    made |= {name: [get(value) for value in items.values()] for name, get in columns.items()}
    return schema.table(table, made)


def tables(store: Store) -> dict:
    """The tables that decide sizes and collection."""
    label = {"labels": lambda value: _json(value["labels"])}
    spaces = dict.fromkeys(
        (key[0], key[1])
        for part in (
            store.blobs,
            store.snapshots,
            store.images,
            store.containers,
            store.leases,
            store.ingests,
            store.sandboxes,
        )
        for key in part
    )
    made = {
        "nodes": schema.table(
            "nodes",
            {
                "node": list(store.nodes),
                "containerd_version": list(store.nodes.values()),
                "snapshotter": ["overlayfs"] * len(store.nodes),
                "collected_at": [NOW] * len(store.nodes),
                "status": ["ok"] * len(store.nodes),
            },
        ),
        "namespaces": schema.table(
            "namespaces", {"node": [k[0] for k in spaces], "namespace": [k[1] for k in spaces]}
        ),
        "blobs": _rows(
            "blobs", ("node", "namespace", "digest"), store.blobs, size=lambda v: v["size"], **label
        ),
        "snapshots": _rows(
            "snapshots",
            ("node", "namespace", "snapshotter", "key"),
            store.snapshots,
            **{name: lambda v, name=name: v[name] for name in ("parent", "kind", "size", "inodes")},
            **label,
        ),
        "containers": _rows(
            "containers",
            ("node", "namespace", "id"),
            store.containers,
            **{name: lambda v, name=name: v[name] for name in ("image", "snapshotter", "snapshot_key")},
            **label,
        ),
        "sandboxes": _rows("sandboxes", ("node", "namespace", "id"), store.sandboxes, **label),
        "ingests": _rows(
            "ingests",
            ("node", "namespace", "ref"),
            store.ingests,
            offset=lambda v: v["offset"],
            started_at=lambda v: v["started_at"],
        ),
        "leases": _leases(store),
        "manifests": _manifests(store),
        "layers": _layers(store),
        "images": _images(store),
    }
    from imgframe import usage

    totals = usage.snapshot_totals(made["snapshots"])
    for name in ("total_size", "total_inodes", "depth"):
        at = made["snapshots"].column_names.index(name)
        made["snapshots"] = made["snapshots"].set_column(
            at, schema.TABLES["snapshots"].field(name), getattr(totals, name)
        )
    sizes = usage.image_sizes(made)
    for name, column in sizes.items():
        at = made["images"].column_names.index(name)
        made["images"] = made["images"].set_column(at, schema.TABLES["images"].field(name), column)
    return made


def inventory(store: Store) -> imf.Inventory:
    return imf.Inventory(tables(store))


def _leases(store):
    rows = []
    for (node, ns, lease), value in store.leases.items():
        expires = value["labels"].get("containerd.io/gc.expire")
        for kind, resource in value["resources"] or [(None, None)]:
            rows.append(
                (
                    node,
                    ns,
                    lease,
                    datetime.fromisoformat(expires) if expires else None,
                    _json(value["labels"]),
                    kind,
                    resource,
                )
            )
    names = ("node", "namespace", "id", "expires_at", "labels", "resource_kind", "resource")
    return schema.table("leases", {name: [row[i] for row in rows] for i, name in enumerate(names)})


def _chain_id(store, node, ns, manifest):
    if manifest not in store.documents or "config" not in store.documents[manifest]:
        return None
    if (node, ns, manifest) not in store.blobs or (
        node,
        ns,
        store.documents[manifest]["config"],
    ) not in store.blobs:
        return None
    return chain(store, manifest)[-1] if chain(store, manifest) else ""


def _manifests(store):
    rows = []
    for node, ns in dict.fromkeys(key[:2] for key in store.blobs):
        for digest, doc in store.documents.items():
            there = (node, ns, digest) in store.blobs
            if "config" in doc:
                config = doc["config"] if there else None
                size = sum(store.sizes[d] for d in [digest, *parts(store, digest)]) if there else None
                rows.append((node, ns, digest, None, config, _chain_id(store, node, ns, digest), size))
            elif there:
                rows.extend((node, ns, child, digest, None, None, None) for child in doc["manifests"])
    names = ("node", "namespace", "digest", "parent_digest", "config_digest", "chain_id", "content_size")
    merged = {}
    known = {row[:3]: row[4:] for row in rows if row[3] is None}
    for row in rows:
        merged[row[:4]] = (*row[:4], *known.get(row[:3], row[4:]))
    return schema.table(
        "manifests", {name: [row[i] for row in merged.values()] for i, name in enumerate(names)}
    )


def _layers(store):
    rows = [
        (digest, i, layer, store.sizes[layer])
        for digest, doc in store.documents.items()
        for i, layer in enumerate(doc.get("layers", ()))
        if any(key[2] == digest for key in store.blobs)
    ]
    return schema.table(
        "layers",
        {
            n: [row[i] for row in rows]
            for i, n in enumerate(("manifest_digest", "position", "digest", "size"))
        },
    )


def resolved(store, node, ns, target):
    """The manifest that a platform would resolve to: the target, or the first manifest of its index."""
    doc = store.documents.get(target, {}) if (node, ns, target) in store.blobs else {}
    if "config" in doc:
        return target
    first = next((m for m in doc.get("manifests", ()) if m.startswith("M")), None)
    return first if first and (node, ns, first) in store.blobs else None


def _images(store):
    def manifest(key, value):
        return resolved(store, key[0], key[1], value["digest"])

    def media(value):
        return OCI + ("index.v1+json" if value["digest"].startswith("I") else "manifest.v1+json")

    found = {key: manifest(key, value) for key, value in store.images.items()}
    used = {(k[0], k[1], c["image"]) for k, c in store.containers.items()}
    return schema.table(
        "images",
        {
            "node": [key[0] for key in found],
            "namespace": [key[1] for key in found],
            "name": [key[2] for key in found],
            "repository": [key[2].split(":")[0] for key in found],
            "domain": ["docker.io" for _ in found],
            "digest": [value["digest"] for value in store.images.values()],
            "media_type": [media(value) for value in store.images.values()],
            "record_labels": [_json(value["labels"]) for value in store.images.values()],
            "manifest_digest": list(found.values()),
            "chain_id": [_chain_id(store, key[0], key[1], m) for key, m in found.items()],
            "snapshotter": ["overlayfs"] * len(found),
            "containers": [int(key in used) for key in found],
            "used_by_digest": [key in used for key in found],
        },
    )


# ---- what must come out


def needs(store, node, ns, target):
    """The blobs of a target that are there, and its snapshots {(snapshotter, key)}; None: not known."""
    if (node, ns, target) not in store.blobs:
        return None
    found, todo = set(), [target]
    while todo:
        digest = todo.pop()
        if digest in found or (node, ns, digest) not in store.blobs:
            continue
        found.add(digest)
        todo += parts(store, digest)
    snapshots, whole = set(), True
    for manifest in found:
        if "config" not in store.documents.get(manifest, {}) or not _chain_known(store, manifest):
            continue
        for kind in ("overlayfs", "native"):
            keys, good = walk(store, (node, ns, kind, (chain(store, manifest) or [""])[-1]))
            snapshots |= keys
            whole &= good
    return found, snapshots, whole


def _chain_known(store, manifest):
    return any(
        _chain_id(store, key[0], key[1], manifest) is not None for key in store.blobs if key[2] == manifest
    )


def walk(store, key):
    """A chain upwards: its keys, and whether it is whole and of known sizes."""
    found = set()
    if key not in store.snapshots:
        return found, True
    while True:
        if key in found or key not in store.snapshots:
            return found, False
        found.add(key)
        value = store.snapshots[key]
        if value["size"] is None:
            return found, False
        if not value["parent"]:
            return found, True
        key = (*key[:3], value["parent"])


def refs(store, version, node, ns, labels):
    """What labels refer to, and what refers back by them."""
    forward, back = [], []
    for key, value in labels.items():
        for kind in ("content", "image", "container"):
            for word, out, since in (
                ("ref", forward, (2, 0) if kind == "image" else (0, 0)),
                ("bref", back, (2, 2)),
            ):
                if word == "ref" and kind == "container":
                    continue
                prefix = f"containerd.io/gc.{word}.{kind}"
                if version >= since and (key == prefix or key.startswith((prefix + ".", prefix + "/"))):
                    out.append((kind, node, ns, value))
        for word, out, since in (("ref", forward, (0, 0)), ("bref", back, (2, 2))):
            prefix = f"containerd.io/gc.{word}.snapshot."
            if version >= since and key.startswith(prefix):
                out.append(("snapshot", node, ns, key[len(prefix) :].split("/")[0], value))
    return forward, back


def conditional(store, node, ns, labels, now):
    """The snapshots whose condition in these labels holds, by containerd 2.3."""
    for label, value in labels.items():
        if not label.startswith("containerd.io/gc.cond.snapshot") or "|" not in value:
            continue
        kind = label.removeprefix("containerd.io/gc.cond.snapshot").lstrip("./").split("/")[0]
        said, key = value.split("|", 1)
        snapshot = store.snapshots.get((node, ns, kind, key), {"labels": {}})
        for name, when in snapshot["labels"].items():
            if not name.startswith("containerd.io/gc.cond.value-usedat") or when == "long ago":
                continue
            age = now - datetime.fromisoformat(when)
            for one in said.split(","):
                found = re.fullmatch(r"usedat([<>])(-?\d+)([hm])", one)
                if found is None:
                    continue
                limit = (
                    timedelta(hours=int(found[2])) if found[3] == "h" else timedelta(minutes=int(found[2]))
                )
                if age < limit if found[1] == "<" else age > limit:
                    yield ("snapshot", node, ns, kind, key)


def collect_garbage(store: Store, removed=(), now=NOW) -> set:
    """What a collection would keep after the image records ``removed`` are gone: a set of (kind, *key)."""
    images = {key: value for key, value in store.images.items() if key not in removed}
    edges, roots, flat = {}, set(), set()

    def owned(kind, key, value):
        version = release(store.nodes[key[0]])
        forward, back = refs(store, version, key[0], key[1], value["labels"])
        edges.setdefault((kind, *key), []).extend(forward)
        for other in back:
            edges.setdefault(other, []).append((kind, *key))

    for key, value in images.items():
        owned("image", key, value)
        edges["image", *key].append(("content", key[0], key[1], value["digest"]))
        expire = value["labels"].get("containerd.io/gc.expire")
        if not (
            release(store.nodes[key[0]]) >= (2, 0)
            and expire
            and expire != "soon"
            and datetime.fromisoformat(expire) < now
        ):
            roots.add(("image", *key))
    for kind, part in (
        ("content", store.blobs),
        ("snapshot", store.snapshots),
        ("container", store.containers),
    ):
        for key, value in part.items():
            owned(kind, key, value)
            version = release(store.nodes[key[0]])
            rooted = any(
                label == "containerd.io/gc.root"
                or (version >= (2, 2) and label.startswith("containerd.io/gc.root"))
                for label in value["labels"]
            )
            if kind == "container" or rooted:
                roots.add((kind, *key))
    for key, value in store.snapshots.items():
        if value["parent"]:
            edges["snapshot", *key].append(("snapshot", *key[:3], value["parent"]))
    for key, value in store.containers.items():
        edges["container", *key].append(
            ("snapshot", key[0], key[1], value["snapshotter"], value["snapshot_key"])
        )
    for kind, part in (("content", store.blobs), ("image", images)):
        for key, value in part.items():
            if release(store.nodes[key[0]]) >= (2, 3):
                edges[kind, *key] += conditional(store, key[0], key[1], value["labels"], now)
    for key, value in store.sandboxes.items():
        if release(store.nodes[key[0]]) >= (2, 0):
            roots |= {*refs(store, release(store.nodes[key[0]]), key[0], key[1], value["labels"])[0]}
    leased = set()
    for key, value in store.leases.items():
        expire = value["labels"].get("containerd.io/gc.expire")
        live = not (expire and datetime.fromisoformat(expire) < now)
        for kind, resource in value["resources"]:
            if kind == "ingests":
                leased.add(("ingest", key[0], key[1], resource))
            if not live:
                continue
            node = {
                "content": ("content", key[0], key[1], resource),
                "ingests": ("ingest", key[0], key[1], resource),
                "images": ("image", key[0], key[1], resource),
            }.get(kind) or ("snapshot", key[0], key[1], kind.split("/")[1], resource)
            (flat if "containerd.io/gc.flat" in value["labels"] else roots).add(node)
    for key, value in store.ingests.items():
        if ("ingest", *key) not in leased and value["started_at"] + timedelta(hours=24) > now:
            roots.add(("ingest", *key))
    kept = _reach(roots, edges, images)
    for node in flat:
        kept |= _flat(store, images, node)
    return kept


def _reach(roots, edges, images):
    kept, todo = set(), list(roots)
    while todo:
        node = todo.pop()
        if node not in kept:
            kept.add(node)
            todo += edges.get(node, ())  # what is not there has no references, but back references name it
    return {node for node in kept if node[0] != "image" or node[1:] in images}


def _flat(store, images, node):
    if node[0] == "image":
        return (
            {("content", node[1], node[2], images[node[1:]]["digest"]), node} if node[1:] in images else set()
        )
    out = {node}
    while node[0] == "snapshot" and store.snapshots.get(node[1:], {}).get("parent"):
        node = (*node[:4], store.snapshots[node[1:]]["parent"])
        if node in out:
            break
        out.add(node)
    return out


def swept(store: Store, removed=(), now=NOW):
    """What disappears: blobs of a node {(node, digest)}, snapshots {key}, ingests {key}."""
    kept = collect_garbage(store, removed, now)
    stay = {(key[0], key[2]) for key in store.blobs if ("content", *key) in kept}
    return (
        {(key[0], key[2]) for key in store.blobs} - stay,
        {key for key in store.snapshots if ("snapshot", *key) not in kept},
        {key for key in store.ingests if ("ingest", *key) not in kept},
    )
