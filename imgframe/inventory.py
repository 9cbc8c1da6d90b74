"""Inventory: a frozen set of the tables of one or many nodes, saved as Parquet.

Internally every table is a :class:`pyarrow.Table` of :mod:`imgframe.schema` (:meth:`Inventory.arrow`); users get each as an
attribute, a plain DataFrame.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.errors import InputError, SchemaError
from imgframe.folders import replaced

if TYPE_CHECKING:
    import pandas as pd

_T = TypeVar("_T")
_Key = TypeVarTuple("_Key")

_LABELLED: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    # table, kind of owner, columns that name the owner, column of labels
    ("images", "record", ("name",), "record_labels"),
    ("configs", "config", ("digest",), "labels"),
    ("blobs", "content", ("digest",), "labels"),
    ("snapshots", "snapshot", ("snapshotter", "key"), "labels"),
    ("containers", "container", ("id",), "labels"),
    ("sandboxes", "sandbox", ("id",), "labels"),
    ("leases", "lease", ("id",), "labels"),
    ("namespaces", "namespace", ("namespace",), "labels"),
)

SAVED = ("nodes.parquet", "a saved inventory")
"""The file that identifies the folder of a saved inventory, and what errors call such a folder."""


class Inventory:
    """What one or many nodes hold at one moment: one attribute per table, each a DataFrame.

    ``nodes``, ``namespaces``, ``images``, ``manifests``, ``configs``, ``history``, ``layers``, ``labels``, ``blobs``,
    ``snapshots``, ``containers``, ``sandboxes``, ``ingests``, ``leases``, ``documents``, ``errors``: the columns of each are
    in :data:`imgframe.schema.TABLES`. An Inventory never changes; the frames it gives may be changed freely.

    Example:
        >>> import imgframe as imf
        >>> inv = imf.Inventory({})
        >>> len(inv.images), list(inv.ingests.columns)[:3]
        (0, ['node', 'namespace', 'ref'])
    """

    __slots__ = ("_frames", "_memo", "_tables")

    nodes: pd.DataFrame
    namespaces: pd.DataFrame
    images: pd.DataFrame
    manifests: pd.DataFrame
    configs: pd.DataFrame
    history: pd.DataFrame
    layers: pd.DataFrame
    labels: pd.DataFrame
    blobs: pd.DataFrame
    snapshots: pd.DataFrame
    containers: pd.DataFrame
    sandboxes: pd.DataFrame
    ingests: pd.DataFrame
    leases: pd.DataFrame
    documents: pd.DataFrame
    errors: pd.DataFrame

    _tables: dict[str, pa.Table]
    _frames: dict[str, pd.DataFrame]
    _memo: dict[Any, Any]

    def __init__(self, tables: Mapping[str, pa.Table | pd.DataFrame]) -> None:
        unknown = set(tables) - set(schema.TABLES)
        if unknown:
            raise InputError(
                f"{min(unknown)!r} is not a table of an inventory; expected one of {', '.join(schema.TABLES)}"
            )
        own = {}
        for name, value in tables.items():
            if not isinstance(value, pa.Table):
                own[name] = schema.from_frame(name, value)
            elif value.schema.equals(schema.TABLES[name]):
                own[name] = value
            else:
                own[name] = schema.table(name, {column: value[column] for column in value.column_names})
        object.__setattr__(self, "_tables", own)
        object.__setattr__(self, "_frames", {})
        object.__setattr__(self, "_memo", {})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"an Inventory is frozen; {name!r} cannot be set (build another with Inventory({{...}}))"
        )

    if not TYPE_CHECKING:  # to a type checker the tables above are all there is

        def __getattr__(self, name: str) -> pd.DataFrame:
            if name not in schema.TABLES:
                raise AttributeError(f"an Inventory has no table {name!r}; it has {', '.join(schema.TABLES)}")
            frame = self._frames.get(name)
            if frame is None:
                frame = self._frames[name] = schema.to_frame(self.arrow(name))
            return frame.copy(deep=False)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *schema.TABLES]

    def __getstate__(self) -> dict[str, pa.Table]:
        return self._tables

    def __setstate__(self, state: dict[str, pa.Table]) -> None:
        self.__init__(state)  # type: ignore[misc]

    def arrow(self, name: str) -> pa.Table:
        """The table ``name`` as an Arrow table of :data:`imgframe.schema.TABLES`."""
        if name not in self._tables:
            self._tables[name] = _long_labels(self) if name == "labels" else schema.empty(name)
        return self._tables[name]

    def to_dict(self) -> dict[str, pd.DataFrame]:
        """All tables by name, as DataFrames."""
        return {name: getattr(self, name) for name in schema.TABLES}

    def replace(self, **tables: pa.Table | pd.DataFrame) -> Inventory:
        """Another Inventory with these tables in place of its own."""
        mine = {name: value for name, value in self._tables.items() if name != "labels"}
        return Inventory({**mine, **tables})

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one Parquet file per table into the folder ``path`` and return the folder.

        The files are compressed with zstd and have int32 dictionaries; their metadata has the schema version, units and
        meanings. All are written beside the folder first and take its place at the end: a reader never sees half of them,
        and if writing fails an older inventory stays as it was.

        Raises:
            InputError: ``path`` exists and is not a saved inventory.
            OSError: the disk is full or read-only; nothing was changed.
        """
        try:
            with replaced(path, *SAVED) as folder:
                for name in schema.TABLES:
                    _write(folder / f"{name}.parquet", name, self.arrow(name))
        except OSError as error:
            if error.errno is None:
                raise
            words = f"{os.strerror(error.errno)}; nothing was saved, and what was there is as it was"
            raise OSError(error.errno, words, os.fspath(path)) from error
        return Path(path)

    def __repr__(self) -> str:
        return f"<Inventory: {_summary(self)}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<div><b>Inventory</b> {escape(_summary(self))}</div>"


def memoised(build: Callable[[Inventory, *_Key], _T]) -> Callable[[Inventory, *_Key], _T]:
    """A function of an inventory whose result is computed once and kept with it, such as the graph of references.

    Further arguments are positional and hashable. A pickle, :func:`concat` and :meth:`Inventory.replace` start without
    results.
    """

    @functools.wraps(build)
    def kept(inventory: Inventory, *key: *_Key) -> _T:
        memo = inventory._memo  # noqa: SLF001 -- the Inventory's own module
        entry = (build, *key)
        if entry not in memo:
            memo[entry] = build(inventory, *key)
        return memo[entry]

    return kept


def _summary(inventory: Inventory) -> str:
    """Nodes, images, bytes and time of collection in one line."""
    nodes, images = inventory.arrow("nodes"), inventory.arrow("images")
    blobs, snapshots = inventory.arrow("blobs"), inventory.arrow("snapshots")
    content = blobs.group_by(["node", "digest"]).aggregate([("size", "max")])["size_max"]
    total = sum(pc.sum(sizes).as_py() or 0 for sizes in (content, snapshots["size"]))
    newest = pc.max(nodes["collected_at"].cast("int64")).as_py() if nodes.num_rows else None
    bad = inventory.arrow("errors").num_rows
    parts = [
        f"{nodes.num_rows:,} node{'' if nodes.num_rows == 1 else 's'}",
        f"{images.num_rows:,} image records",
        f"{human_bytes(total)} on disk",
    ]
    if newest is not None:
        parts.append(time.strftime("collected %Y-%m-%d %H:%M UTC", time.gmtime(newest // 10**9)))
    if bad:
        parts.append(f"{bad:,} error{'' if bad == 1 else 's'} (see .errors)")
    return ", ".join(parts)


def human_bytes(size: float, digits: int = 4) -> str:
    """Bytes with a decimal unit and four significant digits, as Docker's go-units formats them.

    Example:
        >>> human_bytes(0), human_bytes(999), human_bytes(12_345_678)
        ('0B', '999B', '12.35MB')
    """
    value, sign = abs(float(size)), "-" if size < 0 else ""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB"):  # noqa: B007 -- the last one is used
        if value < 1000:
            break
        value /= 1000
    return f"{sign}{value:.{digits}g}{unit}"


def _write(path: Path, name: str, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    extra = {"imgframe.schema_version": str(schema.VERSION), "imgframe.table": name}
    flat = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    pq.write_table(
        table.replace_schema_metadata(extra),
        path,
        compression="zstd",
        use_dictionary=flat,
        row_group_size=1_000_000,
        write_statistics=True,
        write_page_checksum=True,
    )


def open_inventory(path: str | os.PathLike[str]) -> Inventory:
    """The Inventory that :meth:`Inventory.save` wrote into the folder ``path``, with equal values and dtypes.

    Raises:
        SchemaError: not a saved inventory, or one with a schema version or columns that this imgframe does not know.

    Example:
        >>> import imgframe as imf, tempfile
        >>> folder = imf.Inventory({}).save(tempfile.mkdtemp())
        >>> imf.open_inventory(folder)
        <Inventory: 0 nodes, 0 image records, 0B on disk>
    """
    import pyarrow.parquet as pq

    folder = Path(path)
    if not (folder / "nodes.parquet").is_file():
        raise SchemaError(f"{str(path)!r} is not a saved inventory: it has no nodes.parquet")
    tables = {}
    for name, wanted in schema.TABLES.items():
        file = folder / f"{name}.parquet"
        if not file.is_file():
            raise SchemaError(f"{str(path)!r} is not a whole inventory: it has no {name}.parquet")
        try:
            read = pq.read_table(file, page_checksum_verification=True)
            read.validate(full=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SchemaError(f"{str(file)!r} cannot be read as Parquet: {error}") from error
        version = (
            (read.schema.metadata or {}).get(b"imgframe.schema_version", b"none").decode(errors="replace")
        )
        if version != str(schema.VERSION):
            raise SchemaError(
                f"{str(file)!r} has schema version {version}; this imgframe reads version {schema.VERSION}"
            )
        if read.column_names != wanted.names:
            odd = sorted(set(read.column_names) ^ set(wanted.names)) or ["another order"]
            raise SchemaError(f"{str(file)!r} has other columns than table {name!r}: {', '.join(odd)}")
        for stored, field in zip(read.schema, wanted, strict=True):
            if stored.type != field.type:
                raise SchemaError(
                    f"{str(file)!r} has {stored.type} in column {field.name!r}; table {name!r} has {field.type} there"
                )
        tables[name] = schema.table(name, {column: read[column] for column in read.column_names})
    return Inventory(tables)


def concat(inventories: Iterable[Inventory]) -> Inventory:
    """One Inventory with the rows of several; what is keyed by digest alone is there once.

    Raises:
        InputError: two of them have a node with the same name.

    Example:
        >>> import imgframe as imf
        >>> imf.concat([imf.Inventory({}), imf.Inventory({})])
        <Inventory: 0 nodes, 0 image records, 0B on disk>
    """
    parts = list(inventories)
    tables = {
        name: schema.concat(name, (part.arrow(name) for part in parts))
        for name in schema.TABLES
        if name != "labels"
    }
    names = tables["nodes"]["node"].to_pylist()
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"node {twice[0]!r} is in more than one inventory; give each node a name of its own")
    for name, key in (
        ("configs", "digest"),
        ("documents", "digest"),
        ("history", "digest"),
        ("layers", "manifest_digest"),
    ):
        tables[name] = once(tables[name], key, [part.arrow(name) for part in parts])
    return Inventory(tables)


def once(whole: pa.Table, key: str, parts: list[pa.Table]) -> pa.Table:
    """``whole`` without the rows of keys that an earlier part has."""
    import numpy as np

    if not whole.num_rows:
        return whole
    column = whole[key].combine_chunks()
    codes = column.indices.to_numpy(zero_copy_only=False)
    origin = np.repeat(np.arange(len(parts)), [part.num_rows for part in parts])
    first = np.full(len(column.dictionary), len(parts))
    np.minimum.at(first, codes, origin)
    return whole.filter(pa.array(first[codes] == origin))


def _long_labels(inventory: Inventory) -> pa.Table:
    """The table ``labels`` from the JSON columns of the others; each unique text is parsed once."""
    return schema.concat(
        "labels",
        (
            _labels_of(inventory.arrow(source), kind, owner, column)
            for source, kind, owner, column in _LABELLED
        ),
    )


def _labels_of(source: pa.Table, kind: str, owner: tuple[str, ...], column: str) -> pa.Table:
    import numpy as np

    labels = source[column].combine_chunks()
    if not len(labels):
        return schema.empty("labels")
    pairs = [list(json.loads(text).items()) for text in labels.dictionary.to_pylist()]
    counts = np.array([len(pair) for pair in pairs] + [0])
    starts = np.concatenate([[0], np.cumsum(counts)])
    codes = labels.indices.fill_null(len(pairs)).to_numpy(zero_copy_only=False)
    if column == "labels" and kind == "lease":  # one row per resource, but the labels are the lease's
        codes = _first_rows(source, codes, len(pairs))
    repeat = counts[codes]
    rows = np.repeat(np.arange(len(codes)), repeat)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    place = pa.array(starts[codes[rows]] + within)
    keys = pa.array([key for pair in pairs for key, _ in pair], pa.string())
    values = pa.array([value for pair in pairs for _, value in pair], pa.string())
    taken = source.select(
        list(dict.fromkeys((*owner, *(n for n in ("node", "namespace") if n in source.column_names))))
    ).take(pa.array(rows))
    parts = [taken[name].combine_chunks() for name in owner]
    name = (
        parts[0]
        if len(parts) == 1
        else pc.binary_join_element_wise(*(p.cast(pa.string()) for p in parts), "/")
    )
    return schema.table(
        "labels",
        {
            "node": taken["node"] if "node" in taken.column_names else None,
            "namespace": taken["namespace"] if "namespace" in taken.column_names else None,
            "owner_kind": pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(len(rows), dtype="int32")), pa.array([kind])
            ),
            "owner": name,
            "key": keys.take(place),
            "value": values.take(place),
        },
    )


def _first_rows(leases: pa.Table, codes: Any, none: int) -> Any:
    keys = list(zip(*(leases[name].to_pylist() for name in ("node", "namespace", "id")), strict=True))
    first = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
    out = codes.copy()
    out[[row for row, key in enumerate(keys) if first[key] != row]] = none
    return out
