"""The collections of a dataset: opening the folder, reading tables, and the state at any moment."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe import schema
from imgframe.dataset.by_digest import BY_DIGEST, of_digests, united, wanted_digests
from imgframe.dataset.parquet import ours, read_table
from imgframe.errors import InputError, SchemaError
from imgframe.golang import time as gotime
from imgframe.inventory import Inventory

if TYPE_CHECKING:
    import pandas as pd

PRUNED = "pruned.json"
"""File beside the collections that says since when they are complete; older ones were pruned."""

_FOLDER = re.compile(r"date=(\d{4}-\d{2}-\d{2})/collection=([0-9a-f]{16})$")


@dataclass(frozen=True, slots=True)
class Collection:
    """One appended collection: its folder, when its nodes were read (UTC), which nodes, and which of them failed.

    A failed node could not be read (``nodes.status``): that it has no rows says nothing about what it holds.
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
    """Collections over time, oldest first; tables are read only when requested.

    ``collections``: :class:`Collection` values. ``pruned_before``: the moment [ns since 1970] before which :func:`prune` deleted
    collections, else None. ``stored``: all collections of the folder, each of which may hold what others refer to.
    :func:`open_dataset` returns one.
    """

    path: Path
    collections: tuple[Collection, ...]
    pruned_before: int | None = None
    stored: tuple[Collection, ...] = field(default=(), repr=False)

    @property
    def dates(self) -> list[str]:
        """The UTC dates on which something was collected, in order."""
        return sorted({one.date for one in self.collections})

    def between(self, start: Any = None, end: Any = None) -> Dataset:
        """The collections from ``start`` (inclusive) to ``end`` (exclusive); either may be None. Times as in :meth:`at`."""
        low = -math.inf if start is None else moment(start)
        high = math.inf if end is None else moment(end)
        kept = tuple(one for one in self.collections if low <= one.collected_at < high)
        return replace(self, collections=kept)

    def only(self, one: Collection) -> Dataset:
        """The dataset of this collection alone, without what is stored with others: the part that a worker gets."""
        return replace(self, collections=(one,), stored=())

    def last(self, limit: int | None = None) -> tuple[dict[str, Collection], dict[str, Collection]]:
        """Per node the last collection by ``limit`` [ns] that read it, and the last later one that could not."""
        read: dict[str, Collection] = {}
        failed: dict[str, Collection] = {}
        for one in self.collections:
            if limit is None or one.collected_at <= limit:
                read |= dict.fromkeys(one.read, one)
                for node in one.read:
                    failed.pop(node, None)
                failed |= dict.fromkeys(one.failed, one)
        return read, failed

    def at(self, when: Any = None, *, max_age: Any = None) -> Inventory:
        """The state at a moment: for each node its last collection at or before ``when`` (default: the newest).

        A collection that could not read a node says nothing about what it holds: the one before it counts, as
        ``nodes.collected_at`` shows, and ``errors`` has the failure. A node that was never read keeps its failed row.

        ``when``: a date (meaning its end), a datetime or pandas Timestamp, or RFC 3339 text. ``max_age``: how old a collection
        may be at ``when`` (by default at the newest collection), a Go duration such as ``"720h"`` or a timedelta. A node
        that no collection in that time tried to read, such as one taken out of service, is omitted; one that could not be read
        has its failed row. Every node whose last reading is too old has a row in ``errors`` (code ``too_old``) with its time.

        Raises:
            InputError: nothing was collected by then, or not within ``max_age``; or ``when`` was pruned away.

        Example:
            >>> import imgframe as imf, tempfile
            >>> from imgframe import schema
            >>> root, hour = tempfile.mkdtemp() + "/history", 3600 * 10**9
            >>> for name, hours in (("old", 0), ("new", 100)):
            ...     nodes = schema.table("nodes", {"node": [name], "collected_at": [hours * hour]})
            ...     _ = imf.dataset.append(root, imf.Inventory({"nodes": nodes}))
            >>> history = imf.open_dataset(root)
            >>> history.at().nodes["node"].tolist(), history.at(max_age="72h").nodes["node"].tolist()
            (['old', 'new'], ['new'])
        """
        limit = moment(when, end_of_day=True) if when is not None else None
        if limit is not None and self.pruned_before is not None and limit < self.pruned_before:
            raise InputError(
                f"{when} was pruned: this dataset has the state since {gotime.format_time(self.pruned_before)}"
            )
        read, failed = self.last(limit)
        if not read and not failed:
            raise InputError(
                f"nothing was collected by {when}; the dataset begins {self.dates[0] if self.dates else 'with nothing'}"
            )
        outdated = schema.empty("errors")
        if max_age is not None:
            newest = self.collections[-1].collected_at if limit is None else limit
            oldest = newest - gotime.to_duration(max_age)
            outdated = _outdated(failed | read, oldest)
            read, failed = (
                {node: one for node, one in found.items() if one.collected_at >= oldest}
                for found in (read, failed)
            )
            if not read and not failed:
                raise InputError(
                    f"no node was read after {gotime.format_time(oldest)}, which max_age {str(max_age)!r} asks for"
                )
        chosen = failed | read
        names = (name for name in schema.TABLES if name not in BY_DIGEST and name != "labels")
        tables = {name: _rows_of(name, chosen) for name in names}
        since = {node: one for node, one in failed.items() if chosen[node] is not one}
        tables["errors"] = schema.concat("errors", [tables["errors"], _rows_of("errors", since), outdated])
        for name, digests in wanted_digests(tables["images"], tables["manifests"]).items():
            homes = self.stored or self.collections
            tables[name] = united(
                name, [of_digests(name, read_table(one.path, name), digests) for one in homes]
            )
        return Inventory(tables)

    def batches(
        self, name: str, columns: Sequence[str] | None = None, nodes: Iterable[str] | None = None
    ) -> Iterator[tuple[Collection, pa.Table]]:
        """One Arrow table per collection, oldest first, so that a long history needs the memory of one collection.

        ``columns``: only these; ``nodes``: only these (row groups of other nodes are not read).
        """
        chosen = None if nodes is None else list(nodes)
        for one in self.collections:
            if chosen is None or set(chosen) & set(one.nodes):
                yield one, read_table(one.path, name, columns=columns, nodes=chosen)

    def table(
        self, name: str, columns: Sequence[str] | None = None, nodes: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """The rows of the table ``name`` in all collections, preceded by ``date`` and ``collected_at`` (UTC).

        For tables keyed by digest alone the date is that of the first collection that saw it.
        """
        import numpy as np
        import pandas as pd

        parts = [(one, part) for one, part in self.batches(name, columns, nodes) if part.num_rows]
        names = list(columns) if columns is not None else schema.TABLES[name].names
        whole = pa.concat_tables([part for _, part in parts]) if parts else schema.empty(name).select(names)
        frame = schema.to_frame(schema.ordered(whole))
        rows = np.array([part.num_rows for _, part in parts], np.int64)
        times = pd.to_datetime([one.collected_at for one, _ in parts], unit="ns", utc=True).as_unit("ns")
        frame.insert(0, "date", pd.Categorical([one.date for one, _ in parts]).repeat(rows))
        frame.insert(1, "collected_at", times.repeat(rows))
        return frame


def _rows_of(name: str, chosen: dict[str, Collection]) -> pa.Table:
    """The rows of a table, for each node from the collection chosen for it."""
    parts = []
    for one in dict.fromkeys(chosen.values()):
        nodes = [node for node, home in chosen.items() if home is one]
        parts.append(read_table(one.path, name, nodes=None if len(nodes) == len(one.nodes) else nodes))
    return schema.concat(name, parts)


def _outdated(chosen: dict[str, Collection], oldest: int) -> pa.Table:
    """A row of ``errors`` for each node whose collection is too old."""
    gone = {node: one for node, one in chosen.items() if one.collected_at < oldest}
    texts = [
        f"last {'tried' if node in one.failed else 'read'} {gotime.format_time(one.collected_at)}, "
        f"before {gotime.format_time(oldest)}: too old to count"
        for node, one in gone.items()
    ]
    same = {"stage": ["history"] * len(gone), "code": ["too_old"] * len(gone)}
    return schema.table("errors", {"node": list(gone), **same, "message": texts})


def moment(when: Any, *, end_of_day: bool = False) -> int:
    """A date, datetime, Timestamp or RFC 3339 text in nanoseconds since 1970."""
    import pandas as pd

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
        try:
            file = pq.ParquetFile(folder / "nodes.parquet")
        except FileNotFoundError:
            if folder.is_dir():
                raise
            continue  # just pruned; what others need of it has been moved to them
        version = (file.metadata.metadata or {}).get(b"imgframe.schema_version", b"none").decode()
        if version != str(schema.VERSION):
            raise SchemaError(
                f"{str(folder)!r} has schema version {version}; this imgframe reads version {schema.VERSION}"
            )
        nodes = file.read(columns=["node", "collected_at", "status"])
        times = [time for time in nodes["collected_at"].cast("int64").to_pylist() if time is not None]
        names, states = (nodes[name].to_pylist() for name in ("node", "status"))
        failed = [node for node, status in zip(names, states, strict=True) if status == "failed"]
        found.append(Collection(folder, match[1], match[2], max(times), tuple(names), tuple(failed)))
    if not found and any(not ours(entry) for entry in root.iterdir()):
        raise SchemaError(f"{str(path)!r} is not a dataset: it has no date=*/collection=* folder")
    collections = tuple(sorted(found, key=lambda one: (one.collected_at, one.id)))
    pruned_before = _pruned_before(root)  # read last: it is written before anything is deleted
    return Dataset(root, collections, pruned_before, stored=collections)


def _pruned_before(root: Path) -> int | None:
    file = root / PRUNED
    try:
        return gotime.parse_rfc3339(json.loads(file.read_text(encoding="utf-8"))["before"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise SchemaError(
            f'{str(file)!r} does not say since when the dataset is complete; expected {{"before": "<RFC 3339>"}}'
        ) from error
