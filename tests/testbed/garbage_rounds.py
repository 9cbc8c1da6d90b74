"""Random stores with every kind of reference, written by raw calls, then deleted from piece by piece."""

from datetime import UTC, datetime, timedelta

from testbed.compared_calls import digest

_REF = "containerd.io/gc.ref"
_BACK = "containerd.io/gc.bref"
_CONDITION = "containerd.io/gc.cond.snapshot"
_USED_AT = "containerd.io/gc.cond.value-usedat"
EXPIRE = "containerd.io/gc.expire"


def rounds(rng, namespaces):
    """Lists of (call, requests, fields): the first builds the stores and collects, each other deletes with a collection."""
    first, deletes = [], []
    for namespace in namespaces:
        build, later = _store(rng, namespace)
        first += build
        deletes += later
    for namespace in namespaces[1:]:
        first.append(("Leases/Delete", [], {"namespace": namespace, "id": "build"}))
    yield [*first, ("Leases/Delete", [], {"namespace": namespaces[0], "id": "build", "sync": True})]
    rng.shuffle(deletes)
    for call, fields in deletes:
        yield [(call, [], fields | {"sync": True})]


def everything(ask, namespace):
    """What a namespace holds."""

    def listed(call, field, **fields):
        replies = ask(call, namespace=namespace, **fields)
        return [each for reply in replies for each in getattr(reply, field)]

    snapshots = listed("Snapshots/List", "info", snapshotter="overlayfs")
    return {
        "blobs": [(each.digest, dict(each.labels)) for each in listed("Content/List", "info")],
        "snapshots": [(each.name, each.parent, each.kind) for each in snapshots],
        "images": [each.name for each in listed("Images/List", "images")],
        "leases": [each.id for each in listed("Leases/List", "leases")],
        "ingests": [each.ref for each in listed("Content/ListStatuses", "statuses")],
    }


def _store(rng, namespace):
    """Calls that build a random store, and the deletes to follow."""
    at = {"namespace": namespace}
    held = at | {"lease": "build"}
    calls = [("Leases/Create", [], at | {"id": "build"})]
    blobs = []
    for number in range(rng.randrange(14, 22)):
        data = f"blob {rng.randrange(40)}".encode()
        if digest(data) in blobs:
            continue
        write = {
            "action": "COMMIT",
            "ref": f"w{number}",
            "data": data,
            "total": len(data),
            "expected": digest(data),
        }
        calls.append(("Content/Write", [write | {"labels": _labels(rng, blobs)}], held))
        blobs.append(digest(data))
    keys = []
    for number in range(rng.randrange(8, 12)):
        prepared = {"snapshotter": "overlayfs", "key": f"p{number}", "parent": rng.choice([*keys, ""])}
        labels = {"containerd.io/gc.root": "1"} if rng.random() < 0.1 else {}
        labels |= {f"{_REF}.content.x": rng.choice(blobs)} if rng.random() < 0.1 else {}
        calls.append(("Snapshots/Prepare", [], held | prepared | {"labels": labels}))
        if rng.random() < 0.4:
            labels |= {_USED_AT: rng.choice([_stamp(-2), _stamp(-48), _stamp(1), "long ago"])}
        if rng.random() < 0.2:
            labels |= _back_labels(rng, blobs, keys)
        if rng.random() < 0.8:
            keys.append(f"s{number}")
            commit = {"snapshotter": "overlayfs", "key": f"p{number}", "name": f"s{number}", "labels": labels}
            calls.append(("Snapshots/Commit", [], held | commit))
    for number in range(6):
        key, value = f"{_REF}.snapshot.overlayfs{rng.choice(['', '/x'])}", rng.choice(keys or ["gone"])
        if rng.random() < 0.6:
            ((key, value),) = _back_labels(rng, blobs, keys).items()
        info = {"digest": rng.choice(blobs), "labels": {key: value}}
        calls.append(("Content/Update", [], at | {"info": info, "update_mask": {"paths": [f"labels.{key}"]}}))
        calls += _lease(rng, at, number, blobs, keys) if number < 3 else ()
    calls += _sandboxes(rng, at, blobs, keys)
    calls += _conditional(rng, at, blobs)
    cut = {"action": "WRITE", "ref": "cut", "data": b"cut off", "total": 99}
    calls.append(("Content/Write", [cut], held if rng.random() < 0.5 else at))
    later = _images(rng, at, blobs, calls)
    return calls, later


def _stamp(hours):
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sandboxes(rng, at, blobs, keys):
    """Sandboxes with references, from 1.7 on; before, the calls are refused."""
    for number in range(rng.randrange(3)):
        labels = {f"{_REF}.content.x": rng.choice(blobs)}
        if keys and rng.random() < 0.5:
            labels = {f"{_REF}.snapshot.overlayfs": rng.choice(keys)}
        if rng.random() < 0.3:
            labels |= {"containerd.io/gc.root": "x", f"{_BACK}.content": rng.choice(blobs)}
        sandbox = {"sandbox_id": f"box-{number}", "runtime": {"name": "r"}, "labels": labels}
        yield "Store/Create", [], at | {"sandbox": sandbox}
    yield "Store/List", [], at
    yield "Store/List", [], at | {"filters": [f'labels."{_REF}.content.x"']}


def _conditional(rng, at, blobs):
    """Snapshots that only the condition of a blob holds, from 2.3 on."""
    for number in range(4):
        used = {_USED_AT: rng.choice([_stamp(-2), _stamp(-48)])}
        prepared = {"snapshotter": "overlayfs", "key": f"q{number}", "labels": used}
        yield "Snapshots/Prepare", [], at | {"lease": "build"} | prepared
        commit = {"snapshotter": "overlayfs", "key": f"q{number}", "name": f"c{number}", "labels": used}
        yield "Snapshots/Commit", [], at | {"lease": "build"} | commit
        key = f"{_CONDITION}.overlayfs/{number}"
        value = f"{rng.choice(['usedat<24h', 'usedat>24h', 'usedat<1h,usedat>3h'])}|c{number}"
        info = {"digest": rng.choice(blobs), "labels": {key: value}}
        yield "Content/Update", [], at | {"info": info, "update_mask": {"paths": [f"labels.{key}"]}}


def _back_labels(rng, blobs, keys):
    """One back reference or condition, from 2.2 and 2.3 on."""
    said = rng.choice(
        [
            "usedat<24h",
            "usedat>24h",
            "usedat<1m,usedat>100h",
            "usedat<=24h",
            "usedat=1h",
            "usedat<soon",
            "other<1h",
            "",
        ]
    )
    return rng.choice(
        [
            {f"{_BACK}.content{rng.choice(['', '.x', '/x', 'x'])}": rng.choice(blobs)},
            {f"{_BACK}.image": f"i{rng.randrange(4)}"},
            {f"{_BACK}.container.x": "none"},
            {f"{_BACK}.snapshot.overlayfs{rng.choice(['', '/x'])}": rng.choice([*keys, "gone"])},
            {"containerd.io/gc.rootless": "x"},
            {
                f"{_CONDITION}.overlayfs{rng.choice(['', '/a', '/b'])}": f"{said}|{rng.choice([*keys, 'gone'])}"
            },
            {f"{_CONDITION}.overlayfs": f"{said}|{rng.choice([*keys, 'gone'])}"},
            {f"{_CONDITION}.overlayfs": said or "x"},
        ]
    )


def _labels(rng, blobs):
    keys = ("content.0", "content.l.1", "content", "content/x", "contentx", "content.config", "content.m.2")
    labels = {
        f"{_REF}.{rng.choice(keys)}": rng.choice(blobs) for _ in range(rng.choice((0, 0, 1, 2))) if blobs
    }
    return labels | ({"containerd.io/gc.root": "yes"} if rng.random() < 0.08 else {})


def _lease(rng, at, number, blobs, keys):
    name = f"lease-{number}"
    labels = rng.choice(
        (
            {},
            {EXPIRE: "2020-01-01T00:00:00Z"},
            {EXPIRE: "2999-01-01T00:00:00+02:00"},
            {EXPIRE: "tomorrow"},
            {EXPIRE: "2020-01-01"},
            {"containerd.io/gc.flat": "1"},
        )
    )
    yield "Leases/Create", [], at | {"id": name, "labels": labels}
    for _ in range(rng.randrange(3)):
        resource = {"type": "content", "id": rng.choice(blobs)}
        if keys and rng.random() < 0.4:
            resource = {"type": "snapshots/overlayfs", "id": rng.choice(keys)}
        yield "Leases/AddResource", [], at | {"id": name, "resource": resource}


def _images(rng, at, blobs, calls):
    """Images onto random blobs, one with an expiry that has passed; gives the deletes to follow."""
    later = [("Leases/Delete", at | {"id": "lease-1"})]
    for number in range(rng.randrange(3, 6)):
        target = {"media_type": "application/x", "digest": rng.choice(blobs), "size": 5}
        labels = {f"{_REF}.content.extra": rng.choice(blobs)} if rng.random() < 0.2 else {}
        if rng.random() < 0.3:
            labels |= {EXPIRE: rng.choice([_stamp(-1), _stamp(1), "soon"])} | _back_labels(rng, blobs, [])
        image = {"name": f"i{number}", "target": target, "labels": labels}
        calls.append(("Images/Create", [], at | {"image": image}))
        later.append(("Images/Delete", at | {"name": f"i{number}"}))
    target = {"media_type": "application/x", "digest": rng.choice(blobs), "size": 5}
    expired = {"name": "expired", "target": target, "labels": {EXPIRE: "2020-01-01T00:00:00Z"}}
    calls.append(("Images/Create", [], at | {"image": expired}))
    return later
