"""Calls to compare between a simulated and a real daemon: reads of a recorded store, and a story of writes."""

import hashlib
import io
import tarfile

from testbed import images

DIGEST = "sha256:" + "ab" * 32
KEY = "io.x/a.b-c"


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _tar():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, size in (("etc/a", 5000), ("etc/b/c", 10), ("d", 0)):
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, io.BytesIO(b"x" * size))
    return out.getvalue()


TAR = _tar()
ZSTD = images.layer([images.folder("f"), images.file("f/z", b"z" * 9000)], "zstd")
GZIP = images.layer([images.folder("f"), images.file("f/g", b"g" * 9000)], "gzip")
FILTERS = (
    [""],
    ["name==example.com/a.b/c--d:latest", "name~=alpine"],
    ["name~=/^docker.*1$/"],
    ['name~="[0-9]+$"'],
    ["name~=("],
    ["name!=x,labels.nerdctl"],
    ['labels."nerdctl/x"'],
    ['labels."nerdctl/x"=="y=z"'],
    ["labels.nope!=1"],
    ["target.digest"],
    ["target.mediatype~=docker"],
    ["target.size==553"],
    ["unknown"],
    ["unknown==1"],
    ["annotations.a"],
    ["name"],
    ["name , target.digest"],
    ["name=="],
    ["name=x"],
    ["name===x"],
    ["=="],
    ["name=="],
    ["name==a b"],
    ['name=="a'],
    ["name==/x/"],
    ["name~=|a/b|"],
    ["name,"],
    [",name"],
    ["name.."],
    ['"name"==x'],
    ["é==1"],
    ["name==é"],
    ['labels."\\x41\\u00e9"==1'],
    ['labels."\\q"==1'],
    ["name~=x", "bad=="],
    ["name;x"],
    ["(name)"],
)


def reads(dump):
    """(call, fields) of reads on a store that was loaded from ``dump``."""
    blobs = [blob for blob in dump["blobs"] if blob["size"] > 10]
    some = blobs[0]["digest"]
    size = blobs[0]["size"]
    yield from (("Images/List", {"filters": each}) for each in FILTERS)
    yield "Images/List", {}
    yield "Images/List", {"namespace": "never-seen"}
    yield "Images/List", {"namespace": ""}
    yield from (
        ("Images/List", {"namespace": each}) for each in ("a b", "-a", "a/b", "a..b", "x" * 77, "x" * 76)
    )
    yield from (("Images/Get", {"name": each["name"]}) for each in dump["images"][:5])
    yield from (("Images/Get", {"name": each}) for each in ("docker.io/x:y", ""))
    yield "Content/List", {}
    yield "Content/List", {"filters": [f"digest=={some}"]}
    yield "Content/List", {"filters": ["size==44"]}
    yield "Content/List", {"filters": ['labels."containerd.io/gc.ref.content.config"']}
    yield "Content/List", {"filters": ["=="]}
    yield from (
        ("Content/Info", {"digest": each})
        for each in (some, DIGEST, "abc", "", "sha256:ab", "sha256:" + "AB" * 32)
    )
    yield from (
        ("Content/Read", {"digest": each})
        for each in (some, DIGEST, "abc", "", "sha256:ab", "md5:" + "a" * 32)
    )
    for offset, length in (
        (3, 0),
        (0, 5),
        (3, 10**9),
        (-4, 7),
        (size, 0),
        (size + 1, 0),
        (size - 1, 9),
        (2, -1),
    ):
        yield "Content/Read", {"digest": some, "offset": offset, "size": length}
    yield "Content/Info", {"digest": some, "namespace": "never-seen"}
    yield "Content/Read", {"digest": some, "namespace": "never-seen"}
    yield from (("Content/ListStatuses", {"filters": each}) for each in ([], ["ref~=^layer-"], ["^rs"]))
    yield "Content/Status", {"ref": "nope"}
    for snapshotter in ("overlayfs", "native", "nope", ""):
        yield "Snapshots/List", {"snapshotter": snapshotter}
        yield "Snapshots/Stat", {"snapshotter": snapshotter, "key": "nf"}
        yield "Snapshots/Usage", {"snapshotter": snapshotter, "key": "nf"}
        yield "Snapshots/List", {"snapshotter": snapshotter, "filters": ["=="]}
    yield "Containers/ListStream", {}
    for each in (["image==x"], ['image~="alpine"'], ["runtime.name~=runc"], ["labels.nope"], ["id"], ["=="]):
        yield "Containers/ListStream", {"filters": each}
    yield "Tasks/List", {}
    yield "Tasks/List", {"namespace": ""}
    yield "Leases/List", {}
    yield "Leases/List", {"filters": ["id==nope"]}
    yield "Leases/List", {"filters": ["id="]}
    yield "Leases/ListResources", {"id": dump["leases"][0]["id"]}
    yield "Leases/ListResources", {"id": "nope"}
    yield "Leases/ListResources", {"id": dump["leases"][0]["id"], "namespace": "never-seen"}


def _image(name, target=DIGEST, size=5, kind="application/x", **more):
    descriptor = {
        "media_type": kind,
        "digest": target,
        "size": size,
        "annotations": more.pop("annotations", {}),
    }
    return {"name": name, "target": descriptor} | more


def _mask(*paths):
    return {"paths": paths}


def images_story():
    create, update = "Images/Create", "Images/Update"
    yield create, {"image": _image("a:1", labels={"k": "v", "e": "", KEY: "1"}, annotations={"x": "y"})}
    yield create, {"image": _image("a:1")}
    yield create, {"image": _image("not a ref !! ünï")}
    yield from (
        (create, {"image": image})
        for image in (
            _image(""),
            _image("b", target="abc"),
            _image("b", target="sha256:ab"),
            _image("b", target=""),
            _image("b", size=0),
            _image("b", kind=""),
            _image("b", labels={"k": "v" * 4096}),
            _image("b", labels={"k" * 70: "v" * 4096}),
        )
    )
    yield update, {"image": _image("a:1", labels={KEY: "2"}), "update_mask": _mask(f"labels.{KEY}")}
    yield update, {"image": _image("a:1"), "update_mask": _mask("labels.k")}
    yield (
        update,
        {
            "image": _image("a:1", target=DIGEST.replace("a", "c"), labels={"q": "r"}),
            "update_mask": _mask("target"),
        },
    )
    yield update, {"image": _image("a:1", labels={"q": "r", "s": ""}), "update_mask": _mask("labels")}
    yield update, {"image": _image("a:1", annotations={"n": "m"}), "update_mask": _mask("annotations")}
    yield update, {"image": _image("a:1"), "update_mask": _mask("name")}
    yield update, {"image": _image("gone"), "update_mask": _mask("target")}
    yield update, {"image": _image("")}
    yield update, {"image": _image("a:1", labels={"z": "1"})}
    yield update, {"image": _image("a:1", labels={"k": "v" * 4096}), "update_mask": _mask("labels.k")}
    yield "Images/Get", {"name": "a:1"}
    yield "Images/Delete", {"name": "gone"}
    yield "Images/Delete", {"name": "a:1", "target": {"digest": DIGEST.replace("a", "d")}}
    yield "Images/Delete", {"name": "not a ref !! ünï", "target": {"digest": DIGEST}}
    yield "Images/List", {}


def _write(data, ref, *, action="COMMIT", expected=None, offset=0, total=None, labels=None):
    return {
        "action": action,
        "ref": ref,
        "data": data,
        "total": len(data) if total is None else total,
        "expected": digest(data) if expected is None else expected,
        "offset": offset,
        "labels": labels or {},
    }


def content_story(*, malformed=True):
    """(call, requests, fields): a write takes requests, the others fields.

    containerd 2.3 and 2.4 end with a panic where a write expects a malformed digest.
    """
    one, big = b"one blob of many", bytes(range(256)) * 9000
    write = "Content/Write"
    yield write, [_write(one, "r1", labels={"l": "m", "e": ""})], {"lease": "hold"}
    yield write, [_write(one, "r1")], {"lease": "hold"}
    yield write, [_write(b"", "r2", action="STAT", expected=digest(one))], {}
    yield write, [_write(one, "r3", expected="")], {}
    yield write, [_write(b"other", "")], {}
    if malformed:
        yield write, [_write(b"other", "r4", expected="abc")], {}
    yield write, [_write(b"other", "r4", expected=DIGEST)], {}
    yield "Content/Status", [], {"ref": "r4"}
    yield write, [_write(b"other", "r4", action="STAT", expected="", total=0)], {}
    yield write, [_write(b"more", "r4", expected=DIGEST, offset=3)], {}
    yield write, [_write(b"othe", "r4", total=9, expected="")], {}
    yield "Content/Abort", [], {"ref": "r4"}
    yield "Content/Abort", [], {"ref": "r4"}
    parts = [_write(big[:1000], "r5", action="WRITE", total=len(big), expected=digest(big))]
    yield write, parts, {"lease": "hold"}
    yield "Content/ListStatuses", [], {}
    yield write, [_write(b"", "r5", action="STAT", total=len(big), expected=digest(big))], {"lease": "hold"}
    rest = _write(big[1000:], "r5", action="WRITE", total=len(big), expected=digest(big), offset=1000)
    end = _write(b"", "r5", total=len(big), expected=digest(big), offset=len(big))
    yield write, [rest, end], {"lease": "hold"}
    yield write, [_write(b"x", "r6")], {"lease": "no-such-lease"}
    yield write, [_write(b"labelled", "r7", labels={"k": "v" * 4096})], {"lease": "hold"}
    yield "Content/Read", [], {"digest": digest(big)}
    yield "Content/Info", [], {"digest": digest(one)}
    labels = {"info": {"digest": digest(one), "labels": {KEY: "1", "l": ""}}}
    yield "Content/Update", [], labels | {"update_mask": _mask(f"labels.{KEY}", "labels.l")}
    yield "Content/Update", [], labels | {"update_mask": _mask("labels")}
    yield "Content/Update", [], {"info": {"digest": digest(one), "labels": {"only": "this"}}}
    yield "Content/Update", [], labels | {"update_mask": _mask("size")}
    yield "Content/Update", [], {"info": {"digest": DIGEST}}
    yield "Content/Update", [], {"info": {"digest": "abc"}}
    yield "Content/Delete", [], {"digest": DIGEST}
    yield "Content/Delete", [], {"digest": "abc"}
    yield "Content/Delete", [], {"digest": digest(big)}
    yield "Content/Info", [], {"digest": digest(big)}
    yield "Leases/ListResources", [], {"id": "hold"}


def leases_story():
    yield "Leases/Create", {"id": "hold", "labels": {"a": "b", "e": ""}}
    yield "Leases/Create", {"id": "hold"}
    yield "Leases/Create", {"id": "old", "labels": {"containerd.io/gc.expire": "2020-01-01T00:00:00Z"}}
    yield "Leases/List", {"filters": ["labels.a==b"]}
    for kind, name in (
        ("content", DIGEST),
        ("ingests", "i"),
        ("snapshots/overlayfs", "s"),
        ("snapshots", "s"),
        ("snapshots/", "s"),
        ("snapshots/a/b", "s"),
        ("images", "x"),
        ("nope", "x"),
    ):
        yield "Leases/AddResource", {"id": "hold", "resource": {"type": kind, "id": name}}
    yield "Leases/AddResource", {"id": "gone", "resource": {"type": "content", "id": DIGEST}}
    yield "Leases/ListResources", {"id": "hold"}
    for kind, name in (
        ("content", DIGEST),
        ("ingests", "i"),
        ("snapshots/overlayfs", "s"),
        ("images", "x"),
        ("nope", "x"),
    ):
        yield "Leases/DeleteResource", {"id": "hold", "resource": {"type": kind, "id": name}}
    yield "Leases/DeleteResource", {"id": "gone", "resource": {"type": "content", "id": DIGEST}}
    yield "Leases/ListResources", {"id": "hold"}
    yield "Leases/Delete", {"id": "gone"}


def snapshots_story(snapshotter="overlayfs"):
    s = {"snapshotter": snapshotter}
    held = s | {"lease": "hold"}
    yield (
        "Snapshots/Prepare",
        held | {"key": "p1", "labels": {"k": "v", "e": "", "containerd.io/snapshot.ref": "c1"}},
    )
    yield "Snapshots/Prepare", held | {"key": "p1"}
    yield "Snapshots/Prepare", held | {"key": "p2", "parent": "nope"}
    yield "Snapshots/Prepare", held | {"key": "p2", "parent": "p1"}
    yield "Snapshots/Prepare", s | {"key": "p2", "lease": "no-such-lease"}
    yield "Snapshots/Usage", s | {"key": "p1"}
    yield "Snapshots/Commit", held | {"name": "c1", "key": "nope"}
    yield "Snapshots/Commit", held | {"name": "c1", "key": "p1", "labels": {"c": "d"}}
    yield "Snapshots/Stat", s | {"key": "c1"}
    yield "Snapshots/Mounts", s | {"key": "c1"}
    yield "Snapshots/Mounts", s | {"key": "nope"}
    yield "Snapshots/Prepare", held | {"key": "p3", "labels": {"containerd.io/snapshot.ref": "c1"}}
    yield "Snapshots/Prepare", held | {"key": "p4", "parent": "c1"}
    yield "Snapshots/Commit", held | {"name": "c1", "key": "p4"}
    yield "Snapshots/Commit", held | {"name": "c2", "key": "c1"}
    yield "Snapshots/View", held | {"key": "v1", "parent": "c1"}
    yield "Snapshots/Usage", s | {"key": "v1"}
    yield "Snapshots/Remove", s | {"key": "c1"}
    yield "Snapshots/Remove", s | {"key": "v1"}
    yield "Snapshots/Remove", s | {"key": "v1"}
    yield "Snapshots/Commit", held | {"name": "c2", "key": "p4"}
    yield "Snapshots/List", s
    yield "Snapshots/List", s | {"filters": ["kind==committed"]}
    yield "Snapshots/List", s | {"filters": ['parent==""']}
    yield "Snapshots/List", s | {"filters": ["name==c2", "labels.c==d"]}
    yield "Snapshots/Usage", s | {"key": "c2"}
    yield "Leases/ListResources", {"id": "hold"}


def namespaces_story():
    create, delete = "Namespaces/Create", "Namespaces/Delete"
    for name, labels in (
        ("q", {"a": "b", "c": ""}),
        ("q", {}),
        ("q q", {}),
        ("", {}),
        ("x" * 77, {}),
        ("r", {"k": "v" * 4096}),
    ):
        yield create, {"namespace": {"name": name, "labels": labels}}
    yield delete, {"name": "nope"}
    yield delete, {"name": ""}
    yield "Namespaces/List", {}
    yield "Leases/Create", {"namespace": "q", "id": "l"}
    yield "Snapshots/Prepare", {"namespace": "q", "snapshotter": "native", "key": "k", "lease": "l"}
    yield "Snapshots/Prepare", {"namespace": "q", "snapshotter": "overlayfs", "key": "k", "lease": "l"}
    yield "Images/Create", {"namespace": "q", "image": _image("n")}
    yield delete, {"name": "q"}
    yield "Images/Delete", {"namespace": "q", "name": "n"}
    yield "Snapshots/Remove", {"namespace": "q", "snapshotter": "native", "key": "k"}
    yield delete, {"name": "q"}
    yield "Snapshots/Remove", {"namespace": "q", "snapshotter": "overlayfs", "key": "k"}
    yield delete, {"name": "q"}
    yield "Leases/List", {"namespace": "q"}
