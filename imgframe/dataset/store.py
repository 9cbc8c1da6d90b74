"""The folder of collections: append one, open all, read tables with the files that cannot matter left unread."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.dataset.documents import BY_DIGEST, known_digests, not_stored, united, words
from imgframe.errors import InputError, SchemaError
from imgframe.inventory import Inventory

if TYPE_CHECKING:
    import pandas as pd

_ROW_GROUP = 250_000
_FOLDER = re.compile(r"date=(\d{4}-\d{2}-\d{2})/collection=([0-9a-f]{16})$")


@dataclass(frozen=True, slots=True)
class Collection:
    """One appended collection: its folder, when its nodes were read (UTC), which nodes, and which of them failed.

    Of a failed node nothing was read (``nodes.status``): that it has no rows says nothing about what it holds.
    """

    path: Path
    date: str
    id: str
    collected_at: int
    nodes: tuple[str, ...]
    failed: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """The nodes that were read."""
        failed = set(self.failed)
        return tuple(node for node in self.nodes if node not in failed) if failed else self.nodes


@dataclass(frozen=True, slots=True)
class Dataset:
    """Collections over time, oldest first; nothing is read before a table is asked for.

    ``collections``: :class:`Collection` values. Get one from :func:`open_dataset`.
    """

    path: Path
    collections: tuple[Collection, ...]

    @property
    def dates(self) -> list[str]:
        """The UTC dates on which something was collected, in order."""
        return sorted({one.date for one in self.collections})

    def between(self, start: Any = None, end: Any = None) -> Dataset:
        """The collections from ``start`` (inclusive) to ``end`` (exclusive); either may be None. Times as in :meth:`at`."""
        low = _ns(start) if start is not None else None
        high = _ns(end) if end is not None else None
        kept = [
            one
            for one in self.collections
            if (low is None or one.collected_at >= low) and (high is None or one.collected_at < high)
        ]
        return Dataset(self.path, tuple(kept))

    def only(self, one: Collection) -> Dataset:
        """The dataset of this collection alone: what is handed to a worker."""
        return Dataset(self.path, (one,))

    def at(self, when: Any = None) -> Inventory:
        """The state at a moment: for each node its last collection at or before ``when`` (default: the newest).

        A collection that could not read a node says nothing about what it holds: the one before it counts, as
        ``nodes.collected_at`` tells, and ``errors`` has the failure. A node that was never read keeps its failed row.

        ``when``: a date (its end is meant), a datetime or pandas Timestamp, or RFC 3339 text.

        Raises:
            InputError: nothing was collected by then.
        """
        limit = _ns(when, end_of_day=True) if when is not None else None
        chosen: dict[str, Collection] = {}
        failed: dict[str, Collection] = {}
        for one in self.collections:
            if limit is None or one.collected_at <= limit:
                chosen |= dict.fromkeys(one.read, one)
                for node in one.read:
                    failed.pop(node, None)
                failed |= dict.fromkeys(one.failed, one)
        chosen = failed | chosen
        if not chosen:
            raise InputError(
                f"nothing was collected by {when}; the dataset begins {self.dates[0] if self.dates else 'with nothing'}"
            )
        tables = {}
        for name in schema.TABLES:
            if name in BY_DIGEST or name == "labels":
                continue
            parts = []
            for one in dict.fromkeys(chosen.values()):
                nodes = [node for node, home in chosen.items() if home is one]
                parts.append(_read(one, name, nodes=None if len(nodes) == len(one.nodes) else nodes))
            if name == "errors":
                parts += [
                    _read(one, name, nodes=[node]) for node, one in failed.items() if chosen[node] is not one
                ]
            tables[name] = schema.concat(name, parts)
        return Inventory({**tables, **self._documents(tables)})

    def _documents(self, tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        """The rows of the tables keyed by digest that these tables refer to."""
        images, manifests = tables["images"], tables["manifests"]
        configs = pc.unique(
            pa.concat_arrays([words(images["config_digest"]), words(manifests["config_digest"])])
        )
        targets = pa.concat_arrays(
            [words(images[name]) for name in ("digest", "manifest_digest")] + [words(manifests["digest"])]
        )
        documents = pc.unique(pa.concat_arrays([targets, configs, words(manifests["parent_digest"])]))
        wanted = {
            "configs": configs,
            "history": configs,
            "layers": pc.unique(targets),
            "documents": documents,
        }
        found = {}
        for name, key in BY_DIGEST.items():
            rows = (_read(one, name) for one in self.collections)
            kept = [part.filter(pc.is_in(part[key].cast(pa.string()), wanted[name])) for part in rows]
            found[name] = united(name, kept)
        return found

    def batches(
        self, name: str, columns: Sequence[str] | None = None, nodes: Iterable[str] | None = None
    ) -> Iterator[tuple[Collection, pa.Table]]:
        """One Arrow table per collection, oldest first, so that a long history needs the memory of one.

        ``columns``: only these; ``nodes``: only these (row groups of other nodes are not read).
        """
        chosen = None if nodes is None else list(nodes)
        for one in self.collections:
            if chosen is None or set(chosen) & set(one.nodes):
                yield one, _read(one, name, columns=columns, nodes=chosen)

    def table(
        self, name: str, columns: Sequence[str] | None = None, nodes: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """The rows of the table ``name`` of all collections, with ``date`` and ``collected_at`` (UTC) in front.

        For tables keyed by digest alone the date is that of the first collection that saw it.
        """
        import pandas as pd

        parts = [(one, part) for one, part in self.batches(name, columns, nodes) if part.num_rows]
        names = list(columns) if columns is not None else schema.TABLES[name].names
        whole = pa.concat_tables([part for _, part in parts]) if parts else schema.empty(name).select(names)
        frame = schema.to_frame(schema.ordered(whole))
        rows = [part.num_rows for _, part in parts]
        dates = [one.date for one, _ in parts]
        frame.insert(
            0,
            "date",
            pd.Categorical.from_codes(
                _repeat([sorted(set(dates)).index(d) for d in dates], rows), sorted(set(dates))
            ),
        )
        times = pd.to_datetime(_repeat([one.collected_at for one, _ in parts], rows), unit="ns", utc=True)
        frame.insert(1, "collected_at", times.as_unit("ns"))
        return frame


def _repeat(values: list[int], counts: list[int]) -> Any:
    import numpy as np

    return np.repeat(np.array(values, dtype="int64"), counts)


def _ns(when: Any, *, end_of_day: bool = False) -> int:
    """Nanoseconds since 1970 of a date, datetime, Timestamp or RFC 3339 text."""
    import pandas as pd

    from imgframe import gotime

    if isinstance(when, str):
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", when):
            when = dt.date.fromisoformat(when)
        else:
            return gotime.parse_rfc3339(when)
    if isinstance(when, dt.date) and not isinstance(when, dt.datetime):
        start = pd.Timestamp(when, tz="UTC").as_unit("ns").value
        return start + (86_400 * 10**9 - 1 if end_of_day else 0)
    stamp = pd.Timestamp(when)
    if stamp.tz is None:
        raise InputError(f"{when!r} has no time zone; give a UTC time, a date or RFC 3339 text")
    return stamp.as_unit("ns").value


def append(path: str | os.PathLike[str], inventory: Inventory) -> Path:
    """Add one collection to the dataset in the folder ``path`` (made when it is not there) and give its own folder.

    The same collection (same nodes, read at the same moments) is stored once however often it is appended. Rows are sorted
    by node, dictionaries compact, compression zstd. The folder of the collection appears whole, by one rename.

    Raises:
        InputError: the inventory has no node, or ``path`` holds something else.

    Example:
        >>> import imgframe as imf, tempfile
        >>> from imgframe import schema
        >>> inv = imf.Inventory({"nodes": schema.table("nodes", {"node": ["a"], "collected_at": [10**18]})})
        >>> folder = imf.dataset.append(tempfile.mkdtemp() + "/history", inv)
        >>> folder.parent.name
        'date=2001-09-09'
    """
    root = Path(path)
    nodes = inventory.arrow("nodes")
    if not nodes.num_rows:
        raise InputError("an inventory without nodes cannot be appended; collect at least one")
    if root.is_dir() and any(root.iterdir()) and not any(root.glob("date=*")):
        raise InputError(f"{str(path)!r} holds something else; give the folder of a dataset, or a new one")
    times = nodes["collected_at"].cast("int64").to_pylist()
    keys = sorted(zip(nodes["node"].to_pylist(), times, strict=True), key=repr)
    identity = hashlib.sha256(repr(keys).encode()).hexdigest()[:16]
    newest = max((time for time in times if time is not None), default=None)
    if newest is None:
        raise InputError(
            "the inventory does not say when it was collected (nodes.collected_at); a history needs that"
        )
    date = dt.datetime.fromtimestamp(newest // 10**9, dt.UTC).date().isoformat()
    target = root / f"date={date}" / f"collection={identity}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new.", dir=root))
    try:
        _write_collection(fresh, inventory, known_digests(root))
        fresh.chmod(0o755)
        fresh.rename(target)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if target.is_dir():  # another process stored the same collection meanwhile
            return target
        raise
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return target


def _write_collection(folder: Path, inventory: Inventory, known: dict[str, pa.Array]) -> None:
    import pyarrow.parquet as pq

    for name in schema.TABLES:
        if name == "labels":
            continue
        table = inventory.arrow(name)
        if name in BY_DIGEST and table.num_rows and len(known[name]):
            table = not_stored(name, table, known)
        if "node" in table.column_names and table.num_rows:
            order = pc.sort_indices(
                table["node"].combine_chunks().indices
            )  # dictionaries are sorted; the sort is stable
            table = table.take(order)
        flat = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
        meta = {"imgframe.schema_version": str(schema.VERSION), "imgframe.table": name}
        # without the Arrow schema the text columns are plain strings to other readers, and row groups are pruned by them
        with pq.ParquetWriter(
            folder / f"{name}.parquet",
            table.schema.remove_metadata(),
            compression="zstd",
            compression_level=1,
            use_dictionary=flat,
            store_schema=False,
        ) as writer:
            writer.write_table(table.replace_schema_metadata(None), row_group_size=_ROW_GROUP)
            writer.add_key_value_metadata(meta)


def _read(
    one: Collection, name: str, columns: Sequence[str] | None = None, nodes: Sequence[str] | None = None
) -> pa.Table:
    """One table of one collection, dictionary columns as dictionaries, other nodes' row groups unread."""
    import pyarrow.parquet as pq

    wanted = schema.TABLES[name]
    fields = [field for field in wanted if columns is None or field.name in columns]
    if columns is not None and len(fields) != len(set(columns)):
        raise InputError(
            f"table {name!r} has no column {next(c for c in columns if c not in wanted.names)!r}"
        )
    text = [field.name for field in fields if pa.types.is_dictionary(field.type)]
    with pq.ParquetFile(one.path / f"{name}.parquet", read_dictionary=text) as file:
        names = [field.name for field in fields]
        if nodes is None or "node" not in wanted.names:
            table = file.read(columns=names)
        else:
            groups = [
                at for at in range(file.num_row_groups) if _may_hold(file.metadata.row_group(at), nodes)
            ]
            table = file.read_row_groups(groups, columns=[*names, *([] if "node" in names else ["node"])])
            table = table.filter(
                pc.is_in(table["node"].cast(pa.string()), pa.array(list(nodes), pa.string()))
            )
    target = pa.schema(fields)
    return pa.table([_as(table[field.name], field.type) for field in target], schema=target)


def _may_hold(group: Any, nodes: Sequence[str]) -> bool:
    """Whether a row group may have rows of one of the nodes, by the smallest and largest name in it."""
    for at in range(group.num_columns):
        column = group.column(at)
        if column.path_in_schema == "node":
            bounds = column.statistics
            return (
                bounds is None
                or not bounds.has_min_max
                or any(bounds.min <= node <= bounds.max for node in nodes)
            )
    return True


def _as(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if column.type == type_:
        return column
    if pa.types.is_dictionary(type_) and not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column.cast(type_)


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """The dataset in the folder ``path``; only the small nodes tables are read.

    Raises:
        SchemaError: not a dataset, or written by a version with other tables.

    Example:
        >>> import imgframe as imf, tempfile
        >>> from imgframe import schema
        >>> inv = imf.Inventory({"nodes": schema.table("nodes", {"node": ["a"], "collected_at": [10**18]})})
        >>> root = tempfile.mkdtemp() + "/history"
        >>> _ = imf.dataset.append(root, inv)
        >>> imf.open_dataset(root).dates
        ['2001-09-09']
    """
    import pyarrow.parquet as pq

    root = Path(path)
    if not root.is_dir():
        raise SchemaError(f"{str(path)!r} is not a dataset: there is no such folder")
    found = []
    for folder in sorted(root.glob("date=*/collection=*")):
        match = _FOLDER.search(folder.as_posix())
        if match is None:
            continue
        file = pq.ParquetFile(folder / "nodes.parquet")
        version = (file.metadata.metadata or {}).get(b"imgframe.schema_version", b"none").decode()
        if version != str(schema.VERSION):
            raise SchemaError(
                f"{str(folder)!r} has schema version {version}; this imgframe reads version {schema.VERSION}"
            )
        nodes = file.read(columns=["node", "collected_at", "status"])
        times = [time for time in nodes["collected_at"].cast("int64").to_pylist() if time is not None]
        names = nodes["node"].to_pylist()
        failed = [
            node for node, how in zip(names, nodes["status"].to_pylist(), strict=True) if how == "failed"
        ]
        found.append(Collection(folder, match[1], match[2], max(times), tuple(names), tuple(failed)))
    if not found and any(root.iterdir()):
        raise SchemaError(f"{str(path)!r} is not a dataset: it has no date=*/collection=* folder")
    return Dataset(root, tuple(sorted(found, key=lambda one: (one.collected_at, one.id))))
