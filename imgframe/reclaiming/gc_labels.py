"""What the labels of containerd's objects refer to, as its garbage collector reads them.

Source: ``core/metadata/gc.go`` of containerd 1.6 to 2.4. A label that only later versions read has the release since which
they do, 200 for 2.0 and 202 for 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.arrow.keys import Bools, Ints, one_array
from imgframe.reclaiming import conditions
from imgframe.reclaiming.conditions import Condition

IMAGE, CONTENT, SNAPSHOT, CONTAINER, LEASE, INGEST, SANDBOX, PLACEHOLDER = range(8)

_PREFIX = "containerd.io/gc."
_ROOT = "containerd.io/gc.root"
_EXPIRE = "containerd.io/gc.expire"
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
_CONTENT = b"containerd.io/gc.ref.content."
_SNAPSHOT = b"containerd.io/gc.ref.snapshot."
_decode = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, slots=True)
class LabelReferences:
    """The references in the distinct texts of a label column: parallel arrays, one entry per label, sorted by text."""

    text: Ints
    kind: Ints
    back: Bools
    since: Ints
    snapshotter: pa.Array
    target: pa.Array
    root: dict[int, int]
    expire: dict[int, str]
    conditions: list[Condition]
    used_at: list[tuple[int, int]]

    def of_sandboxes(self) -> LabelReferences:
        """The references that count on sandboxes: forward ones, since containerd 2.0.

        1.7 stores sandboxes where its garbage collector does not look.
        """
        rows = np.flatnonzero(~self.back)
        picked = pa.array(rows)
        return LabelReferences(
            self.text[rows],
            self.kind[rows],
            self.back[rows],
            np.maximum(self.since[rows], 200),
            self.snapshotter.take(picked),
            self.target.take(picked),
            {},
            {},
            [],
            [],
        )

    def roots(self, texts: int) -> Ints:
        """For each text the release since which it makes its owner a root; a million: never."""
        out = np.full(texts + 1, 1_000_000, np.int64)
        for text, since in self.root.items():
            out[text] = since
        return out


@dataclass(slots=True)
class _RareLabels:
    """The references of labels that few objects have, while they are read."""

    rows: list[tuple[int, int, bool, int, str, str]] = field(default_factory=list)
    root: dict[int, int] = field(default_factory=dict)
    expire: dict[int, str] = field(default_factory=dict)
    conditions: list[Condition] = field(default_factory=list)
    used_at: list[tuple[int, int]] = field(default_factory=list)


def read_references(column: pa.Array | pa.ChunkedArray) -> LabelReferences:
    """The references in a column of labels; each distinct text is read once.

    Example:
        >>> import pyarrow as pa
        >>> text = '{"containerd.io/gc.ref.content.l.0":"sha256:aa","containerd.io/gc.ref.contentx":"sha256:bb"}'
        >>> read_references(pa.array([text]).dictionary_encode()).target.to_pylist()
        ['sha256:aa']
    """
    words = one_array(column).dictionary
    found = _RareLabels()
    plain: list[tuple[Ints, int, pa.Array, pa.Array]] = []
    if len(words):
        texts = np.flatnonzero(pc.match_substring(words, _PREFIX).to_numpy(zero_copy_only=False))
        labels = words.take(pa.array(texts))
        simple, halves, counts = _simple(labels)
        plain = _read_simple(found, texts, halves, counts)
        for text, label in zip(
            texts[~simple].tolist(), labels.filter(pa.array(~simple)).to_pylist(), strict=True
        ):
            for key, value in _decode(label).items():
                if key.startswith(_PREFIX) and value:
                    _read(found, text, key, value)
    return _joined(found, plain)


def _simple(labels: pa.Array) -> tuple[Bools, pa.Array, Ints]:
    """Which texts are compact JSON without escapes, so that every quotation mark delimits a key or a value.

    Also their keys and values, alternating, and the number of pairs in each text. A text of n pairs has 4n marks: two around
    it, two at each of the n colons and at each of the n - 1 commas; no key or value can contain another.
    """
    data = labels.cast(pa.binary())
    _, offsets_buffer, bytes_buffer = data.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[data.offset : data.offset + len(data) + 1]
    raw = np.frombuffer(bytes_buffer, np.uint8) if bytes_buffer is not None else np.empty(0, np.uint8)
    marks = np.diff(np.searchsorted(np.flatnonzero(raw == ord('"')), offsets))
    escapes = np.diff(np.searchsorted(np.flatnonzero(raw == ord("\\")), offsets))
    start, end = offsets[:-1], offsets[1:]
    bound = (
        (raw[start] == ord("{"))
        & (raw[start + 1] == ord('"'))
        & (raw[end - 2] == ord('"'))
        & (raw[end - 1] == ord("}"))
    )
    inner = pc.binary_replace_slice(pc.binary_replace_slice(data, 0, 2, b""), -2, 1 << 30, b"")
    lists = pc.split_pattern(inner, '","')
    counts = pc.list_value_length(lists).to_numpy()
    halves = pc.split_pattern(lists.flatten(), '":"')
    whole = np.ones(len(data), np.bool_)
    uneven = np.flatnonzero(pc.list_value_length(halves).to_numpy() != 2)
    whole[np.repeat(np.arange(len(data)), counts)[uneven]] = False
    good = bound & whole & (escapes == 0) & (marks == 4 * counts)
    return good, halves.filter(pa.array(np.repeat(good, counts))).flatten(), np.where(good, counts, 0)


def _read_simple(
    found: _RareLabels, texts: Ints, halves: pa.Array, counts: Ints
) -> list[tuple[Ints, int, pa.Array, pa.Array]]:
    """References of simple texts: those to content and snapshots as arrays, the rare ones added to ``found``."""
    even = np.arange(0, len(halves), 2)
    wanted = np.flatnonzero(pc.starts_with(halves, _PREFIX.encode()).to_numpy(zero_copy_only=False)[even])
    text = np.repeat(texts, counts)[wanted]
    key, value = halves.take(pa.array(2 * wanted)), halves.take(pa.array(2 * wanted + 1))
    filled = pc.greater(pc.binary_length(value), 0).to_numpy(zero_copy_only=False)
    out = []
    rest = filled.copy()
    for prefix, kind in ((_CONTENT, CONTENT), (_SNAPSHOT, SNAPSHOT)):
        mine = pc.starts_with(key, prefix).to_numpy(zero_copy_only=False) & filled
        blank = pa.DictionaryArray.from_arrays(pa.array(np.zeros(int(mine.sum()), np.int32)), pa.array([""]))
        snapshotter = blank.cast(pa.string())
        if kind == SNAPSHOT and mine.any():
            name = pc.binary_replace_slice(key.filter(pa.array(mine)), 0, len(prefix), b"")
            bare = pc.invert(pc.match_substring(name, "/"))
            mine[np.flatnonzero(mine)[~bare.to_numpy(zero_copy_only=False)]] = False
            snapshotter = name.filter(bare).cast(pa.string())
        out.append((text[mine], kind, snapshotter, value.filter(pa.array(mine)).cast(pa.string())))
        rest &= ~mine
    for at in np.flatnonzero(rest).tolist():
        _read(found, int(text[at]), key[at].as_py().decode(), value[at].as_py().decode())
    return out


def _joined(found: _RareLabels, plain: list[tuple[Ints, int, pa.Array, pa.Array]]) -> LabelReferences:
    odd = list(zip(*found.rows, strict=True)) or [()] * 6
    text = np.concatenate([np.array(odd[0], np.int64), *(part[0] for part in plain)])
    order = np.argsort(text, kind="stable")
    later = [len(part[0]) for part in plain]
    zeros = np.zeros(sum(later), np.int64)
    return LabelReferences(
        text[order],
        np.concatenate([np.array(odd[1], np.int64), *(np.full(len(part[0]), part[1]) for part in plain)])[
            order
        ],
        np.concatenate([np.array(odd[2], np.bool_), zeros.astype(np.bool_)])[order],
        np.concatenate([np.array(odd[3], np.int64), zeros])[order],
        pa.concat_arrays([pa.array(odd[4], pa.string()), *(part[2] for part in plain)]).take(pa.array(order)),
        pa.concat_arrays([pa.array(odd[5], pa.string()), *(part[3] for part in plain)]).take(pa.array(order)),
        found.root,
        found.expire,
        found.conditions,
        found.used_at,
    )


def _read(found: _RareLabels, text: int, key: str, value: str) -> None:
    if key == _EXPIRE:
        found.expire[text] = value
    elif key.startswith(_ROOT):
        found.root[text] = min(found.root.get(text, 1_000_000), 0 if key == _ROOT else 202)
    elif key.startswith(conditions.LABEL):
        found.conditions += conditions.read_condition(text, key, value)
    elif key.startswith(conditions.USED_AT):
        if (moment := conditions.read_used_at(value)) is not None:
            found.used_at.append((text, moment))
    else:
        _read_reference(found, text, key, value)


def _read_reference(found: _RareLabels, text: int, key: str, value: str) -> None:
    kind, back, since, snapshotter = -1, False, 0, ""
    for prefix, back_, since_ in _SNAPSHOTS:
        if key.startswith(prefix):
            kind, back, since = SNAPSHOT, back_, since_
            snapshotter = key[len(prefix) :].split("/", 1)[0]
    for prefix, kind_, back_, since_ in _NAMED:
        if key == prefix or key.startswith((prefix + ".", prefix + "/")):
            kind, back, since = kind_, back_, since_
    if kind >= 0:
        found.rows.append((text, kind, back, since, snapshotter, value))
