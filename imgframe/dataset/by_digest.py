"""Tables keyed by digest alone, stored once: with the first collection that saw a digest, or the first that read it whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.arrow.keys import plain_codes

BY_DIGEST = {"configs": "digest", "history": "digest", "layers": "manifest_digest", "documents": "digest"}
"""Tables whose rows depend on a digest alone, and the column with that digest."""


def known_digests(folders: Iterable[Path]) -> dict[str, pa.Array]:
    """Per table keyed by digest, the digests that these collections already hold.

    ``layers`` are all manifests with layers; the key ``whole layers`` has those of them that lack no chain ID.
    """
    import pyarrow.parquet as pq

    known = {}
    homes = sorted(folders)
    for name, key in BY_DIGEST.items():
        columns = [key, "chain_id"] if name == "layers" else [key]
        parts = [pq.read_table(home / f"{name}.parquet", columns=columns) for home in homes]
        found = {name: parts}
        if name == "layers":
            found["whole layers"] = [
                part.filter(pc.invert(_among(part, key, _lacking(part)))) for part in parts
            ]
        for what, rows in found.items():
            known[what] = pc.unique(pa.chunked_array([words(part[key]) for part in rows], pa.string()))
    return known


def wanted_digests(images: pa.Table, manifests: pa.Table) -> dict[str, pa.Array]:
    """Per table keyed by digest, the digests that these images and manifests refer to."""
    configs = pc.unique(pa.concat_arrays([words(table["config_digest"]) for table in (images, manifests)]))
    columns = images["digest"], images["manifest_digest"], manifests["digest"]
    targets = pa.concat_arrays([words(column) for column in columns])
    return {
        "configs": configs,
        "history": configs,
        "layers": pc.unique(targets),
        "documents": pc.unique(pa.concat_arrays([targets, configs, words(manifests["parent_digest"])])),
    }


def of_digests(name: str, table: pa.Table, digests: pa.Array, *, others: bool = False) -> pa.Table:
    """The rows of a table keyed by digest with these digests; ``others``: all rows but those."""
    chosen = _among(table, BY_DIGEST[name], digests)
    return table.filter(pc.invert(chosen) if others else chosen)


def not_stored(name: str, table: pa.Table, known: dict[str, pa.Array]) -> pa.Table:
    """The rows of a table keyed by digest that no collection holds yet, or only without their chain IDs."""
    key = BY_DIGEST[name]
    stored = _among(table, key, known[name])
    if name == "layers":
        no_better = pc.or_(_among(table, key, _lacking(table)), _among(table, key, known["whole layers"]))
        stored = pc.and_(stored, no_better)
    return table.filter(pc.invert(stored))


def united(name: str, parts: Sequence[pa.Table]) -> pa.Table:
    """The rows of collections, oldest first, each digest once; layers with all their chain IDs take precedence."""
    key = BY_DIGEST[name]
    if name == "layers":
        odd = [(part, _among(part, key, _lacking(part))) for part in parts]
        parts = [part.filter(pc.invert(rows)) for part, rows in odd] + [
            part.filter(rows) for part, rows in odd
        ]
    return once(schema.concat(name, parts), key)


def once(table: pa.Table, key: str) -> pa.Table:
    """The table without later blocks of rows of the same key."""
    import numpy as np

    if not table.num_rows:
        return table
    codes = plain_codes(table[key])
    if "position" in table.column_names:  # several rows per key: a new block begins where the position falls
        position = table["position"].to_numpy()
        fresh = np.concatenate([[True], (codes[1:] != codes[:-1]) | (position[1:] <= position[:-1])])
    else:
        fresh = np.ones(len(codes), dtype=bool)
    block = np.cumsum(fresh) - 1
    first = np.full(codes.max() + 1, len(codes))
    np.minimum.at(first, codes, block)
    return table.filter(pa.array(first[codes] == block))


def _among(table: pa.Table, key: str, digests: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(table[key].cast(pa.string()), digests)


def _lacking(layers: pa.Table) -> pa.Array:
    """The manifests with a layer without a chain ID: their config was missing, or is another kind of document."""
    return words(layers.filter(pc.is_null(layers["chain_id"]))["manifest_digest"])


def words(column: pa.ChunkedArray) -> pa.Array:
    """The distinct texts of a column."""
    return pc.unique(column.cast(pa.string())).drop_null()
