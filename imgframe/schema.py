"""One Arrow schema per table: the type, the unit and the meaning of every column.

Tables travel inside imgframe as :class:`pyarrow.Table` (:func:`table`) and reach the user as plain
:class:`pandas.DataFrame` (:func:`to_frame`). Text that repeats is dictionary-encoded with sorted values: an Arrow
dictionary of int32 indices here, a pandas categorical there. Maps and lists (labels, env, annotations) are compact JSON
text, so that they can be compared, grouped and written to Parquet like any other text.

Example:
    >>> from imgframe import schema
    >>> schema.TABLES["ingests"].names
    ['node', 'namespace', 'ref', 'offset', 'total', 'started_at', 'updated_at']
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe.errors import SchemaError

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""Version of the tables below; written into every Parquet file and checked by ``open_inventory``."""

CATEGORY = pa.dictionary(pa.int32(), pa.string())
INT = pa.int64()
FLOAT = pa.float64()
BOOL = pa.bool_()
TIME = pa.timestamp("ns", tz="UTC")
BINARY = pa.large_binary()


def _schema(**columns: tuple[pa.DataType, str]) -> pa.Schema:
    """An Arrow schema whose fields carry their meaning as metadata; a unit stands in brackets: ``[bytes]``."""
    return pa.schema([pa.field(name, type_, metadata={"doc": doc}) for name, (type_, doc) in columns.items()])


_NODE = (CATEGORY, "name of the node")
_NAMESPACE = (CATEGORY, "containerd namespace")

TABLES: dict[str, pa.Schema] = {
    "nodes": _schema(
        node=_NODE,
        address=(CATEGORY, "address that was read"),
        containerd_version=(CATEGORY, "version text of the daemon; NA: not reached"),
        store_uuid=(CATEGORY, "identity of the store: containerd's uuid for its root directory"),
        platform=(CATEGORY, "platform of the node, normalised, as containerd reports it"),
        snapshotter=(CATEGORY, "snapshotter used for sizes where a namespace names no other"),
        root=(CATEGORY, "containerd's root directory on the node; NA: not reported"),
        disk_total=(INT, "size of the file system under root [bytes]; NA: not readable"),
        disk_free=(INT, "free space of that file system for containerd [bytes]; NA: not readable"),
        collected_at=(TIME, "when the collection of the node began"),
        seconds=(FLOAT, "how long the collection took [s]"),
        rpcs=(INT, "calls made to containerd"),
        status=(
            CATEGORY,
            "ok; moved: the store changed during the reading, changed parts were read again; partial: see errors; failed",
        ),
    ),
    "namespaces": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        labels=(CATEGORY, "labels of the namespace, JSON object"),
    ),
    "images": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        name=(CATEGORY, "name of the record as stored"),
        domain=(CATEGORY, "registry of the parsed name; NA: none"),
        repository=(CATEGORY, "familiar repository, as ParseRepoTag gives it; empty: unparsable"),
        tag=(CATEGORY, "tag, as ParseRepoTag gives it; empty: dangling"),
        digest=(CATEGORY, "digest of the target"),
        media_type=(CATEGORY, "media type of the target"),
        target_size=(INT, "size of the target document as the record declares it [bytes]"),
        created_at=(TIME, "when this name first entered this store"),
        updated_at=(TIME, "when the record last changed"),
        record_labels=(CATEGORY, "labels of the record, JSON object"),
        pinned=(BOOL, "the CRI pinned it (io.cri-containerd.pinned=pinned)"),
        platform=(CATEGORY, "platform of the config that the node's platform resolves to"),
        manifest_digest=(CATEGORY, "manifest that the node's platform resolves to; NA: none readable"),
        config_digest=(CATEGORY, "config that the node's platform resolves to; NA: none readable"),
        built_at=(TIME, "created of the config"),
        labels=(CATEGORY, "labels of the config as ReadImageConfig gives them, JSON object; NA: unreadable"),
        layer_count=(INT, "layers of the manifest"),
        chain_id=(CATEGORY, "chain ID of all diff IDs; empty: no layers; NA: unreadable"),
        content_size=(INT, "manifest, config and layers as declared by descriptors [bytes]"),
        content_present_size=(
            INT,
            "index and every manifest, config and layer beneath it that is in the store, each once [bytes]",
        ),
        unpacked_size=(INT, "sum over the snapshot chain [bytes]; NA: not unpacked or unknown"),
        unique_size=(
            INT,
            "content and snapshots of this image that no other target digest of the store needs [bytes]",
        ),
        shared_size=(
            INT,
            "content and snapshots of this image that another target digest of the store needs [bytes]",
        ),
        complete=(BOOL, "manifest, config and all layers of the resolved platform are present"),
        unpacked=(BOOL, "the snapshot chain exists"),
        snapshotter=(CATEGORY, "snapshotter of unpacked_size"),
        containers=(INT, "containers whose image field equals the name byte for byte"),
        used_by_digest=(BOOL, "a container uses this target digest under any name, or its snapshot chain"),
    ),
    "manifests": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        digest=(CATEGORY, "digest of the manifest (or nested index)"),
        parent_digest=(CATEGORY, "index that lists it; NA: it is the target of an image itself"),
        position=(INT, "place in that index, from 0"),
        media_type=(CATEGORY, "media type by its descriptor"),
        size=(INT, "size of the document by its descriptor [bytes]"),
        platform=(CATEGORY, "platform of its descriptor, else of its config; NA: unknown"),
        is_attestation=(BOOL, "annotated as an attestation of another manifest"),
        present=(BOOL, "the document is in the store and readable"),
        config_digest=(CATEGORY, "its config"),
        content_size=(INT, "manifest, config and layers as declared [bytes]"),
        present_size=(INT, "of these, bytes in the store, each blob once [bytes]"),
        unpacked_size=(INT, "sum over the snapshot chain [bytes]; NA: not unpacked or unknown"),
        chain_id=(CATEGORY, "chain ID of all diff IDs; NA: config not readable"),
        annotations=(CATEGORY, "annotations of the descriptor, JSON object"),
    ),
    "configs": _schema(
        digest=(CATEGORY, "digest of the config"),
        created=(TIME, "built at; NA: not given or outside the range of nanosecond times"),
        author=(CATEGORY, "author"),
        os=(CATEGORY, "operating system as written"),
        architecture=(CATEGORY, "architecture as written"),
        variant=(CATEGORY, "variant as written"),
        user=(CATEGORY, "user"),
        env=(CATEGORY, "environment, JSON list"),
        entrypoint=(CATEGORY, "entrypoint, JSON list"),
        cmd=(CATEGORY, "command, JSON list"),
        working_dir=(CATEGORY, "working directory"),
        exposed_ports=(CATEGORY, "exposed ports, JSON list"),
        volumes=(CATEGORY, "volumes, JSON list"),
        stop_signal=(CATEGORY, "stop signal"),
        healthcheck=(CATEGORY, "health check, JSON object; NA: none"),
        labels=(CATEGORY, "labels as ReadImageConfig gives them, JSON object"),
    ),
    "history": _schema(
        digest=(CATEGORY, "digest of the config"),
        position=(INT, "step, from 0"),
        created=(TIME, "when the step was built"),
        created_by=(CATEGORY, "command of the step"),
        author=(CATEGORY, "author of the step"),
        comment=(CATEGORY, "comment"),
        empty_layer=(BOOL, "the step made no layer"),
    ),
    "layers": _schema(
        manifest_digest=(CATEGORY, "manifest"),
        position=(INT, "place, from 0 (the base)"),
        digest=(CATEGORY, "blob"),
        media_type=(CATEGORY, "media type"),
        size=(INT, "size by its descriptor [bytes]"),
        diff_id=(CATEGORY, "diff ID from the config; NA: config not readable or shorter"),
        chain_id=(CATEGORY, "chain ID up to this layer"),
    ),
    "labels": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        owner_kind=(CATEGORY, "record, config, content, snapshot, container, lease or namespace"),
        owner=(CATEGORY, "name, digest, snapshotter/key or id; node and namespace are NA for configs"),
        key=(CATEGORY, "label"),
        value=(CATEGORY, "value"),
    ),
    "blobs": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        digest=(CATEGORY, "digest"),
        size=(INT, "size in the store [bytes]"),
        created_at=(TIME, "when it entered this namespace"),
        updated_at=(TIME, "when its labels last changed"),
        labels=(
            CATEGORY,
            "labels, JSON object; the containerd.io/gc.* ones are the collector's references and roots",
        ),
    ),
    "snapshots": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        snapshotter=(CATEGORY, "snapshotter"),
        key=(CATEGORY, "name in the namespace; a chain ID if committed by an unpack"),
        parent=(CATEGORY, "key of the parent; empty: none"),
        kind=(CATEGORY, "committed, active or view"),
        size=(INT, "bytes of this snapshot alone [bytes]; NA: not asked or unknown"),
        inodes=(INT, "inodes of this snapshot alone; NA: not asked or unknown"),
        total_size=(INT, "bytes of it and all its parents [bytes]; NA: broken chain or unknown"),
        total_inodes=(INT, "inodes of it and all its parents; NA: broken chain or unknown"),
        depth=(INT, "parents above it; NA: broken chain"),
        created_at=(TIME, "created"),
        updated_at=(TIME, "changed"),
        labels=(CATEGORY, "labels, JSON object"),
    ),
    "containers": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        id=(CATEGORY, "container id"),
        image=(CATEGORY, "image name as given at its creation; may no longer exist"),
        image_digest=(CATEGORY, "target digest of the record with that name; NA: no such record"),
        snapshotter=(CATEGORY, "snapshotter"),
        snapshot_key=(CATEGORY, "its writable snapshot"),
        runtime=(CATEGORY, "runtime"),
        created_at=(TIME, "created"),
        updated_at=(TIME, "changed"),
        status=(CATEGORY, "created, running, stopped, paused, pausing; none: no task; NA: unknown"),
        labels=(CATEGORY, "labels, JSON object"),
    ),
    "ingests": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        ref=(CATEGORY, "name of the write"),
        offset=(INT, "bytes written [bytes]"),
        total=(INT, "bytes announced [bytes]; 0: not announced"),
        started_at=(TIME, "started"),
        updated_at=(TIME, "last write"),
    ),
    "leases": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        id=(CATEGORY, "lease"),
        created_at=(TIME, "created"),
        expires_at=(TIME, "label containerd.io/gc.expire; NA: never"),
        labels=(CATEGORY, "labels, JSON object"),
        resource_kind=(CATEGORY, "content, snapshots/<snapshotter>, ingests or images; NA: it holds nothing"),
        resource=(CATEGORY, "digest, key, ref or name; NA: it holds nothing"),
    ),
    "documents": _schema(
        digest=(CATEGORY, "digest, verified"),
        data=(BINARY, "the very bytes of an index, manifest or config"),
    ),
    "errors": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        stage=(
            CATEGORY,
            "connect, images, content, documents, snapshots, usage, containers, leases, ingests, tables",
        ),
        subject=(CATEGORY, "what could not be read: digest, name, key, address"),
        code=(
            CATEGORY,
            "gRPC status name, or not_found, wrong_digest, too_large, malformed, cycle, broken_chain",
        ),
        message=(CATEGORY, "one sentence"),
    ),
}
"""The schema of every table of an Inventory, by name."""

PLANS: dict[str, pa.Schema] = {
    "steps": _schema(
        step=(INT, "order, from 0"),
        action=(CATEGORY, "delete, create, tag, pull, ensure or push"),
        node=_NODE,
        namespace=_NAMESPACE,
        name=(CATEGORY, "record that is changed; for pull and ensure the reference"),
        digest=(CATEGORY, "target digest on which the step was decided; NA: no record expected"),
        to=(CATEGORY, "new name (tag) or destination (push)"),
        media_type=(CATEGORY, "media type of the target"),
        target_size=(INT, "size of the target document as the record declares it [bytes]"),
        record_labels=(CATEGORY, "labels of the record, JSON object"),
        reason=(CATEGORY, "why the step is there"),
        predicted_bytes=(
            INT,
            "bytes that the step frees (or fetches) after those before it [bytes]; NA: unknown",
        ),
        options=(CATEGORY, "how it is done, JSON object"),
    ),
    "kept": _schema(
        node=_NODE,
        namespace=_NAMESPACE,
        name=(CATEGORY, "record"),
        digest=(CATEGORY, "target digest"),
        reason=(CATEGORY, "why it is kept"),
    ),
    "outcomes": _schema(
        step=(INT, "step of the plan"),
        status=(CATEGORY, "done, gone (nothing to do any more), refused, failed, stopped (not begun)"),
        message=(CATEGORY, "why it was refused or failed, and the next step"),
        seconds=(FLOAT, "how long it took [s]"),
        started_at=(TIME, "when it began"),
        before=(CATEGORY, "target digest that the node had; NA: no record"),
        after=(CATEGORY, "target digest that the node has now; NA: no record"),
        record=(CATEGORY, "name of the record that is there now, for pull and ensure"),
        remote=(CATEGORY, "digest that the registry gave; NA: not asked"),
        snapshotter=(CATEGORY, "snapshotter that was unpacked into"),
        fetched_bytes=(INT, "bytes that came over the network or left [bytes]"),
        present_bytes=(INT, "bytes that were there already [bytes]"),
        via=(CATEGORY, "client or transfer"),
    ),
}
"""The schema of the tables of a Plan and a Result, by name."""


def _column(field: pa.Field, values: Any, rows: int) -> pa.Array:
    """One column of the right type; text is dictionary-encoded with sorted values and int32 indices."""
    if values is None:
        values = pa.nulls(rows, field.type)
    if isinstance(values, pa.ChunkedArray):
        if pa.types.is_dictionary(values.type):
            values = values.unify_dictionaries()
        values = values.combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # no chunk at all
            values = pa.array([], field.type)
    if not pa.types.is_dictionary(field.type):
        if not isinstance(values, pa.Array):
            values = pa.array(values, field.type, from_pandas=True)
        return values if values.type == field.type else values.cast(field.type)
    if not isinstance(values, pa.Array):
        values = pa.array(values, pa.string(), from_pandas=True)
    if not pa.types.is_dictionary(values.type):
        values = values.cast(pa.string()).dictionary_encode()
    return _sorted_dictionary(values)


def _sorted_dictionary(values: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same values with a sorted dictionary without repeats, nulls or unused entries.

    Sorted by code point, which is the byte order of UTF-8 and the order of Go's stores.
    """
    import numpy as np
    import pyarrow.compute as pc

    words = values.dictionary.cast(pa.string())
    codes = values.indices.fill_null(-1).cast(pa.int64()).to_numpy(zero_copy_only=False)
    used = np.zeros(len(words), dtype=bool)
    used[codes[codes >= 0]] = True
    valid = np.asarray(pc.is_valid(words)) if words.null_count else np.ones(len(words), dtype=bool)
    keep = np.flatnonzero(used & valid)
    kept = words.take(pa.array(keep))
    distinct = pc.unique(kept)
    ordered = distinct.take(pc.sort_indices(distinct))
    place = np.full(len(words) + 1, -1, dtype=np.int32)
    place[keep] = pc.index_in(kept, ordered).to_numpy(zero_copy_only=False)
    new = place[codes]
    mask = new < 0
    indices = pa.array(new, pa.int32(), mask=mask) if mask.any() else pa.array(new, pa.int32())
    return pa.DictionaryArray.from_arrays(indices, ordered)


def table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    """A table of the schema ``name`` from columns given as lists, numpy or Arrow arrays.

    A column that is not given is all NA. Text becomes a dictionary with sorted values.

    Raises:
        SchemaError: a column that the table does not have.

    Example:
        >>> from imgframe import schema
        >>> schema.table("ingests", {"node": ["a"], "ref": ["layer-1"], "offset": [3]}).num_rows
        1
    """
    wanted = TABLES[name]
    unknown = set(columns) - set(wanted.names)
    if unknown:
        raise SchemaError(f"table {name!r} has no column {min(unknown)!r}")
    rows = max((len(values) for values in columns.values() if values is not None), default=0)
    return pa.Table.from_arrays(
        [_column(field, columns.get(field.name), rows) for field in wanted], schema=wanted
    )


def plan_table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    """A table of :data:`PLANS` from columns given as lists, Series or Arrow arrays; what is not given is NA."""
    wanted = PLANS[name]
    plain = {
        key: values if isinstance(values, pa.Array | pa.ChunkedArray) else list(values)
        for key, values in columns.items()
    }
    rows = max(map(len, plain.values()), default=0)
    arrays = [_column(field, _without_na(plain.get(field.name)), rows) for field in wanted]
    return pa.Table.from_arrays(arrays, schema=wanted)


def _without_na(values: Any) -> Any:
    if not isinstance(values, list):
        return values
    return [None if value is None or str(value) == "<NA>" or value != value else value for value in values]  # noqa: PLR0124 -- NaN


def plan_frame(name: str, columns: Mapping[str, Any]) -> pd.DataFrame:
    """:func:`plan_table` as a plain DataFrame."""
    return to_frame(plan_table(name, columns))


@cache
def empty(name: str) -> pa.Table:
    """The table ``name`` with no rows."""
    return table(name, {})


def concat(name: str, tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of several tables of the schema ``name`` one after the other, in one chunk, dictionaries united."""
    parts = [part for part in tables if part.num_rows]
    if not parts:
        return empty(name)
    if len(parts) == 1:
        return parts[0]
    whole = pa.concat_tables(parts).unify_dictionaries()
    return table(name, {column: whole[column] for column in whole.column_names})


def ordered(source: pa.Table) -> pa.Table:
    """Any table with its text as one int32 dictionary of sorted values per column, as :func:`table` makes them."""
    fields = [
        pa.field(field.name, CATEGORY) if pa.types.is_dictionary(field.type) else field
        for field in source.schema
    ]
    columns = [_column(field, source[field.name], source.num_rows) for field in fields]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def to_frame(source: pa.Table) -> pd.DataFrame:
    """The table as a plain DataFrame with a RangeIndex.

    Dictionary text becomes a category with sorted categories, integers ``Int64``, booleans ``boolean``, times
    ``datetime64[ns, UTC]``, other text ``str``; dtypes never depend on whether values are missing.
    """
    import pandas as pd

    data = {field.name: _to_series(field, source[field.name].combine_chunks()) for field in source.schema}
    return pd.DataFrame(data, index=pd.RangeIndex(source.num_rows), copy=False)


def _to_series(field: pa.Field, column: pa.Array) -> Any:
    import pandas as pd

    if pa.types.is_dictionary(field.type):
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        categories = pd.Index(column.dictionary.to_pylist(), dtype="str")
        return pd.Categorical.from_codes(codes, categories=categories)
    if pa.types.is_integer(field.type):
        return pd.array(_filled(column, 0), dtype="Int64") if not column.null_count else _masked(column, 0)
    if pa.types.is_boolean(field.type):
        return _masked(column, False)
    if pa.types.is_timestamp(field.type):
        return column.to_pandas().array
    if pa.types.is_large_string(field.type):
        return pd.array(column.to_pylist(), dtype="str")
    return column.to_pandas().array


def _filled(column: pa.Array, value: Any) -> Any:
    return (column.fill_null(value) if column.null_count else column).to_numpy(zero_copy_only=False)


def _masked(column: pa.Array, value: Any) -> Any:
    """A pandas masked array: the values, and where they are missing."""
    import numpy as np
    import pandas as pd

    values = np.ascontiguousarray(_filled(column, value))
    missing = (
        column.is_null().to_numpy(zero_copy_only=False)
        if column.null_count
        else np.zeros(len(column), dtype=bool)
    )
    kind = pd.arrays.BooleanArray if values.dtype == bool else pd.arrays.IntegerArray
    return kind(values.copy(), missing.copy())


def from_frame(name: str, frame: pd.DataFrame) -> pa.Table:
    """The table of the schema ``name`` from a frame, whatever wrote it: categories, plain strings, other int sizes.

    Columns that the schema does not know are left out; those that the frame lacks are NA.
    """
    wanted = TABLES[name]
    columns = {}
    for field in wanted:
        if field.name in frame.columns:
            values = frame[field.name]
            columns[field.name] = _from_series(field, values)
    return table(name, {**columns, **({} if columns else {wanted.names[0]: [None] * len(frame)})})


def _from_series(field: pa.Field, values: Any) -> pa.Array:
    import pandas as pd

    if pa.types.is_dictionary(field.type) and isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy().astype("int32")
        return pa.DictionaryArray.from_arrays(
            pa.array(codes, pa.int32(), mask=codes < 0),
            pa.array(values.cat.categories.astype("object"), pa.string()),
        )
    if pa.types.is_timestamp(field.type):
        return pa.array(values.astype("datetime64[ns, UTC]"), field.type, from_pandas=True)
    return pa.array(
        values.astype("object"),
        pa.string() if pa.types.is_dictionary(field.type) else field.type,
        from_pandas=True,
    )
