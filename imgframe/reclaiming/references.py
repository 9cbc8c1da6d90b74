"""What the labels of containerd's objects refer to, as its garbage collector reads them.

Source: ``core/metadata/gc.go`` of containerd 1.6 to 2.2. A label that only later versions read carries the release from which
it counts, 200 for 2.0 and 202 for 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.usage.rows import Ints, one_array

IMAGE, CONTENT, SNAPSHOT, CONTAINER, LEASE, INGEST, GHOST = range(7)

_PREFIX = "containerd.io/gc."
_ROOT = "containerd.io/gc.root"
_EXPIRE = "containerd.io/gc.expire"
_CONDITION = "containerd.io/gc.cond.snapshot"
_NAMED = (
    # prefix, kind of the other end, whether the label's owner is the child, release that reads it
    ("containerd.io/gc.ref.content", CONTENT, False, 0),
    ("containerd.io/gc.ref.image", IMAGE, False, 200),
    ("containerd.io/gc.bref.content", CONTENT, True, 202),
    ("containerd.io/gc.bref.image", IMAGE, True, 202),
    ("containerd.io/gc.bref.container", CONTAINER, True, 202),
)
_SNAPSHOTS = (
    ("containerd.io/gc.ref.snapshot.", False, 0),
    ("containerd.io/gc.bref.snapshot.", True, 202),
)
_decode = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(slots=True)
class References:
    """The references in the distinct texts of a label column; parallel lists, one entry per label."""

    text: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    back: list[bool] = field(default_factory=list)
    since: list[int] = field(default_factory=list)
    snapshotter: list[str] = field(default_factory=list)
    target: list[str] = field(default_factory=list)
    root: dict[int, int] = field(default_factory=dict)
    expire: dict[int, str] = field(default_factory=dict)

    def roots(self, texts: int) -> Ints:
        """For each text the release from which it makes its owner a root; a million: never."""
        out = np.full(texts + 1, 1_000_000, np.int64)
        for text, since in self.root.items():
            out[text] = since
        return out


def read_references(column: pa.Array | pa.ChunkedArray) -> References:
    """The references in a column of labels; each distinct text is read once.

    Example:
        >>> import pyarrow as pa
        >>> text = '{"containerd.io/gc.ref.content.l.0":"sha256:aa","containerd.io/gc.ref.contentx":"sha256:bb"}'
        >>> read_references(pa.array([text]).dictionary_encode()).target
        ['sha256:aa']
    """
    words = one_array(column).dictionary
    found = References()
    if len(words):
        texts = np.flatnonzero(pc.match_substring(words, _PREFIX).to_numpy(zero_copy_only=False))
        for text, labels in zip(texts.tolist(), words.take(pa.array(texts)).to_pylist(), strict=True):
            _read(found, text, labels)
    return found


def _read(found: References, text: int, labels: str) -> None:
    add_text, add_target = found.text.append, found.target.append
    plain = "containerd.io/gc.ref.content."
    for key, value in _decode(labels).items():
        if not key.startswith(_PREFIX) or not value:
            continue
        if key.startswith(plain):  # nearly all of them
            add_text(text)
            add_target(value)
            found.kind.append(CONTENT)
            found.back.append(False)
            found.since.append(0)
            found.snapshotter.append("")
        elif key == _EXPIRE:
            found.expire[text] = value
        elif key.startswith(_ROOT):
            found.root[text] = min(found.root.get(text, 1_000_000), 0 if key == _ROOT else 202)
        else:
            _read_other(found, text, key, value)


def _read_other(found: References, text: int, key: str, value: str) -> None:
    kind, back, since, snapshotter = -1, False, 0, ""
    for prefix, back_, since_ in _SNAPSHOTS:
        if key.startswith(prefix):
            kind, back, since = SNAPSHOT, back_, since_
            snapshotter = key[len(prefix) :].split("/", 1)[0]
    for prefix, kind_, back_, since_ in _NAMED:
        if key == prefix or key.startswith((prefix + ".", prefix + "/")):
            kind, back, since = kind_, back_, since_
    if key.startswith(_CONDITION) and "|" in value:  # kept if used lately: taken as kept
        kind, since = SNAPSHOT, 202
        snapshotter = key[len(_CONDITION) :].lstrip("./").split("/", 1)[0]
        value = value.split("|", 1)[1]
    if kind < 0:
        return
    found.text.append(text)
    found.kind.append(kind)
    found.back.append(back)
    found.since.append(since)
    found.snapshotter.append(snapshotter)
    found.target.append(value)
