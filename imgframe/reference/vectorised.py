"""Many image names at once: one table row per name.

Names of the usual form are recognised by one RE2 scan and split at byte offsets; all others, and all doubtful ones, go
through :func:`imgframe.reference.names.parse`, so that both ways give the same results.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.errors import InputError, ReferenceError_
from imgframe.reference.grammar import DEFAULT_DOMAIN, DEFAULT_TAG, OFFICIAL
from imgframe.reference.names import listed, parse, split_protocol

if TYPE_CHECKING:
    import pandas as pd

_TEXT_COLUMNS = "name error protocol domain path repository tag explicit_tag digest familiar familiar_string string list_ref"
NAME_SCHEMA = pa.schema([*((name, pa.string()) for name in _TEXT_COLUMNS.split()), ("bare", pa.bool_())])
"""Columns of :func:`parse_names`."""

_CHUNK = 1 << 18  # names per step: bounds the memory, and no column outgrows 32-bit offsets
_LONGEST = 247  # bytes; a longer name may hold a path over 255 characters, "library/" included
_DIGEST_BYTES = len("@sha256:") + 64
_UNTAGGED = "<untagged>"

# The usual form: lower case, sha256 digests. A tag cannot hold "/", so a ":" before a "/" begins a port.
_LABEL = r"[a-z0-9]+(?:-+[a-z0-9]+)*"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_USUAL = (
    rf"^(?:{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?/)?{_PART}(?:/{_PART})*"
    r"(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$"
)
_BARE = r"^(?:sha256:)?[0-9a-f]{64}$"
# Of these forms, what may be a CID: base2, 16, 32, 32hex, 36 and 58, beginning with the bytes 01 or 12 20.
_CID_LIKE = r"0[01-]+$|f(?:01|1220)[0-9a-f]*$|[bc](?:a[e-h]|ci)[a-z2-7]*$|[vt](?:0[4-7]|28)[0-9a-v]*$|k[0-9a-z]+$|z[1-9a-z]+$"
# Heads that are no host in spite of their dot, the second name of docker.io, digests.
_SPECIAL = r"[^/]*_[^/]*\.[^/]*/|[^/]*\.[^/]*_[^/]*/|index\.docker\.io/|sha(?:256|384|512):"
_DOUBTFUL = f"^(?:{_CID_LIKE}|{_SPECIAL})"


class _Bytes:
    """The bytes of an Arrow string array without nulls, and where each row starts and ends."""

    def __init__(self, array: pa.StringArray) -> None:
        _, offsets, data = array.buffers()
        self._data = data if data is not None else pa.py_buffer(b"")
        bounds = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
        self._data = self._data.slice(bounds[0], bounds[-1] - bounds[0])
        self.bytes = np.frombuffer(self._data, np.uint8)
        self.start, self.end = bounds[:-1] - bounds[0], bounds[1:] - bounds[0]

    def cut(self, start: np.ndarray, end: np.ndarray) -> pa.StringArray:
        """The texts from ``start`` to ``end``, which must lie within the rows."""
        bounds = np.empty(2 * len(start) + 1, np.int32)
        bounds[:-1:2] = start
        bounds[1::2] = end
        bounds[-1] = end[-1]
        both = pa.StringArray.from_buffers(2 * len(start), pa.py_buffer(bounds), self._data)
        return both.take(pa.array(np.arange(0, 2 * len(start), 2, dtype=np.int32)))

    def places(self, char: str) -> np.ndarray:
        """The offsets of ``char``, and one beyond the end."""
        return np.append(np.flatnonzero(self.bytes == ord(char)), len(self.bytes)).astype(np.int32)

    def begins(self, at: np.ndarray, text: str) -> np.ndarray:
        """Whether ``text`` is at each of the offsets ``at``; false where it would run over the end."""
        word = np.frombuffer(text.encode(), np.uint8)
        found = at + len(word) <= len(self.bytes)
        for step, byte in enumerate(word):
            rows = np.flatnonzero(found)
            found[rows] = self.bytes[at[rows] + step] == byte
        return found


Places = np.ndarray[Any, np.dtype[np.integer[Any]]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class _Parts(NamedTuple):
    """The offsets of the parts of each name, and its kind; ``inner`` counts the slashes in its path."""

    slash: Places
    path_start: Places
    path_end: Places
    name_end: Places
    inner: Places
    host: Flags
    default: Flags
    has_tag: Flags
    has_digest: Flags


def _parts(text: _Bytes) -> _Parts:
    """The parts of the names as written."""
    start, end = text.start, text.end
    slashes, colons, dots = text.places("/"), text.places(":"), text.places(".")
    first_slash_at, last_slash_at = np.searchsorted(slashes, start), np.searchsorted(slashes, end)
    slash_count = last_slash_at - first_slash_at
    slash = slashes[first_slash_at]
    has_digest = (end - start > _DIGEST_BYTES) & (
        text.bytes[np.maximum(end - _DIGEST_BYTES, start)] == ord("@")
    )
    name_end = np.where(has_digest, end - _DIGEST_BYTES, end)
    last_slash = np.where(slash_count > 0, slashes[last_slash_at - 1], start - 1)
    last_colon = np.append(colons, -1)[np.searchsorted(colons, name_end) - 1]
    has_tag = last_colon > last_slash
    host = (slash_count > 0) & (
        (dots[np.searchsorted(dots, start)] < slash)
        | (colons[np.searchsorted(colons, start)] < slash)
        | text.begins(start, "localhost/")
    )
    return _Parts(
        slash,
        np.where(host, slash + 1, start),
        np.where(has_tag, last_colon, name_end),
        name_end,
        slash_count - host,
        host,
        ~host | (host & text.begins(start, f"{DEFAULT_DOMAIN}/")),
        has_tag,
        has_digest,
    )


def _spelled_out(text: _Bytes, parts: _Parts) -> tuple[pa.StringArray, Places]:
    """The names with the domain and tag that they omit, and how far that shifts their parts."""
    official = parts.default & (parts.inner == 0)
    prefix = np.where(parts.default, np.where(official, 2, 1), 0)
    prefixes = ["", f"{DEFAULT_DOMAIN}/", f"{DEFAULT_DOMAIN}/{OFFICIAL}"]
    latest = ~parts.has_tag & ~parts.has_digest
    kept = np.where(parts.default, parts.path_start, text.start)
    string = pc.binary_join_element_wise(
        pa.array(prefixes).take(pa.array(prefix)),
        text.cut(kept, text.end),
        pa.array(["", f":{DEFAULT_TAG}"]).take(pa.array(latest.astype(np.int8))),
        "",
    )
    lengths = np.array([len(words) for words in prefixes], np.int32)[prefix]
    return string, _Bytes(string).start + lengths - kept


def _usual_table(names: pa.StringArray) -> pa.Table:
    """Rows for names of the usual form; every column is a cut of the column ``string``."""
    text = _Bytes(names)
    parts = _parts(text)
    string, shift = _spelled_out(text, parts)
    whole = _Bytes(string)
    default, has_tag, has_digest = parts.default, parts.has_tag, parts.has_digest
    domain_end = np.where(default, whole.start + len(DEFAULT_DOMAIN), parts.slash + shift)
    path_end, name_end = parts.path_end + shift, parts.name_end + shift
    official = default & (
        (parts.inner == 0) | ((parts.inner == 1) & whole.begins(parts.path_start + shift, OFFICIAL))
    )
    path_start = domain_end + 1
    familiar_start = np.where(default, path_start + np.where(official, len(OFFICIAL), 0), whole.start)
    tag_start = np.where(has_digest & ~has_tag, path_end, path_end + 1)
    tag_end = np.where(has_digest, name_end, whole.end)
    explicit_end = np.where(has_tag, tag_end, tag_start)
    digest_start = np.where(has_digest, name_end + 1, whole.end)
    familiar = whole.cut(familiar_start, path_end)
    untagged = has_digest & ~has_tag & ~parts.host
    shown = whole.cut(familiar_start, np.where(has_tag, tag_end, whole.end))
    return pa.table(
        [
            names,
            pa.nulls(len(names), pa.string()),
            pa.repeat("", len(names)),
            whole.cut(whole.start, domain_end),
            whole.cut(path_start, path_end),
            familiar,
            whole.cut(tag_start, tag_end),
            whole.cut(tag_start, explicit_end),
            whole.cut(digest_start, whole.end),
            familiar,
            whole.cut(familiar_start, whole.end),
            string,
            pc.if_else(pa.array(untagged), _UNTAGGED, shown) if untagged.any() else shown,
            pa.repeat(pa.scalar(False), len(names)),
        ],
        schema=NAME_SCHEMA,
    )


def _bare_table(names: pa.StringArray) -> pa.Table:
    """Rows for ``sha256:`` digests and for names of 64 hex digits."""
    short = pc.less(pc.binary_length(names), 70)
    digests = pc.if_else(short, pc.binary_join_element_wise("sha256:", names, ""), names)
    blank = pa.repeat("", len(names))
    columns: dict[str, Any] = dict.fromkeys(NAME_SCHEMA.names, blank)
    columns |= {
        "name": names,
        "error": pa.nulls(len(names), pa.string()),
        "digest": digests,
        "string": digests,
        "list_ref": pa.repeat(_UNTAGGED, len(names)),
        "bare": pa.repeat(pa.scalar(True), len(names)),
    }
    return pa.table(columns, schema=NAME_SCHEMA)


def _row(name: str | None) -> tuple[Any, ...]:
    if name is None:
        return (None,) * len(NAME_SCHEMA)
    try:
        ref = parse(name)
    except ReferenceError_ as error:
        blanks = ("",) * 9
        return (name, error.go, split_protocol(name)[0], *blanks, listed(name, None), False)
    familiar = ref.familiar_name
    return (
        name,
        None,
        ref.protocol,
        ref.domain,
        ref.path,
        familiar,
        ref.tag,
        ref.explicit_tag,
        ref.digest,
        familiar,
        ref.familiar_string,
        ref.string,
        listed(name, ref),
        ref.bare,
    )


def _one_by_one(names: pa.StringArray) -> pa.Table:
    columns = zip(*map(_row, names.to_pylist()), strict=True)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, NAME_SCHEMA, strict=True)],
        schema=NAME_SCHEMA,
    )


def _parse_chunk(names: pa.StringArray) -> pa.Table:
    doubtful = pc.match_substring_regex(names, _DOUBTFUL)
    lengths = pc.binary_length(names)
    bare = pc.and_(
        pc.match_substring_regex(names, _BARE),
        pc.or_(pc.invert(doubtful), pc.equal(lengths, len("sha256:") + 64)),
    )
    usual = pc.and_not(
        pc.match_substring_regex(names, _USUAL), pc.or_(doubtful, pc.greater(lengths, _LONGEST))
    )
    usual = pc.fill_null(pc.and_not(usual, bare), fill_value=False)
    bare = pc.fill_null(bare, fill_value=False)
    rest = pc.invert(pc.or_(usual, bare))
    tables, places = [], []
    for mask, build in ((usual, _usual_table), (bare, _bare_table), (rest, _one_by_one)):
        part = pc.filter(names, mask)
        if len(part):
            tables.append(build(part))
            places.append(np.flatnonzero(mask))
    if len(tables) == 1:
        return tables[0]
    back = np.empty(len(names), np.int64)
    back[np.concatenate(places)] = np.arange(len(names))
    return pa.concat_tables(tables).combine_chunks().take(pa.array(back))


def _texts(names: Any) -> pa.Array | pa.ChunkedArray:
    """``names`` as Arrow strings, in chunks that are neither dictionaries nor large."""
    if isinstance(names, pa.ChunkedArray) and pa.types.is_dictionary(names.type):
        names = (
            names.unify_dictionaries().chunk(0) if names.num_chunks else pa.array([], names.type.value_type)
        )
    if isinstance(names, pa.DictionaryArray):
        names = names.dictionary
    if not isinstance(names, (pa.Array, pa.ChunkedArray)):
        try:
            names = pa.array(names, pa.string())
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(f"image names must be text: {error}") from error
    kind = names.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise InputError(f"image names must be text, not {kind}")
    return names


def parse_names(names: pa.Array | pa.ChunkedArray | Iterable[str | None]) -> pa.Table:
    """Every name as :func:`imgframe.reference.parse` reads it, one row per element in the same order.

    ``names``: Arrow strings, or any iterable of text; repeated names are parsed again each time, so give unique ones. Of
    a dictionary the values are parsed, each once: row *i* of the table belongs to code *i*.

    Columns (:data:`NAME_SCHEMA`): ``name``; ``error``, Go's message for a name that does not parse, else null; ``protocol``,
    ``domain``, ``path``, ``tag``, ``explicit_tag``, ``digest``, ``string`` as in :class:`~imgframe.reference.Reference`;
    ``repository`` and ``familiar``, the familiar name; ``familiar_string``, the text that a glob pattern is tried on first;
    ``list_ref``, the IMAGE column of nerdctl's listing; ``bare``, the name is a digest or a CID, which globs skip. Absent
    parts are empty, as in Go; a null name has nulls.

    Raises :class:`~imgframe.errors.InputError` if ``names`` is not text.

    Example:
        >>> from imgframe import reference
        >>> table = reference.parse_names(["alpine", "quay.io/a/b:1", "A b"])
        >>> table.select(["domain", "repository", "tag", "error"]).to_pylist()[1:]
        [{'domain': 'quay.io', 'repository': 'quay.io/a/b', 'tag': '1', 'error': None}, {'domain': '', 'repository': '', 'tag': '', 'error': 'invalid reference format: repository name (library/A b) must be lowercase'}]
    """
    texts = _texts(names)
    tables = [_parse_chunk(_as_string(texts[at : at + _CHUNK])) for at in range(0, len(texts), _CHUNK)]
    return pa.concat_tables(tables) if tables else NAME_SCHEMA.empty_table()


def _as_string(names: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    plain = names.cast(pa.string())
    return plain.combine_chunks() if isinstance(plain, pa.ChunkedArray) else plain


def repo_tags(names: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Columns ``domain``, ``repository``, ``tag``, one row per element of ``names`` (strings or a dictionary).

    ``repository`` and ``tag`` as :func:`parse_repo_tag` gives them (both empty: unparsable; empty tag: dangling);
    ``domain`` is null where the name has none. Of a dictionary each value is parsed once, and dictionaries come back.

    Example:
        >>> import pyarrow as pa
        >>> from imgframe import reference
        >>> reference.repo_tags(pa.array(["quay.io/a/b:1", "x@y"])).to_pylist()
        [{'domain': 'quay.io', 'repository': 'quay.io/a/b', 'tag': '1'}, {'domain': None, 'repository': '', 'tag': ''}]
    """
    if isinstance(names, pa.ChunkedArray):
        names = names.unify_dictionaries() if pa.types.is_dictionary(names.type) else names
        names = names.combine_chunks()
    table = parse_names(names).select(["domain", "repository", "tag"])
    domain = table["domain"]
    table = table.set_column(
        0, "domain", pc.if_else(pc.equal(domain, ""), pa.scalar(None, pa.string()), domain)
    )
    if not isinstance(names, pa.DictionaryArray):
        return table
    columns = [
        pc.take(column.combine_chunks().dictionary_encode(), names.indices) for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


@overload
def parse_repo_tag(name: str) -> tuple[str, str]: ...


@overload
def parse_repo_tag(name: pd.Series) -> pd.DataFrame: ...


def parse_repo_tag(name: str | pd.Series) -> tuple[str, str] | pd.DataFrame:
    """Repository and tag of an image name; two empty texts if it does not parse (Go: ``imgutil.ParseRepoTag``).

    For a Series: a frame with the categories ``repository`` and ``tag`` on the index of the Series, each unique name
    parsed once; NA stays NA. An empty tag means dangling: digests, CIDs, ``repository@digest``, unparsable names.

    Raises :class:`~imgframe.errors.InputError` if the Series does not hold text.

    Example:
        >>> import pandas as pd
        >>> import imgframe as imf
        >>> imf.parse_repo_tag("ghcr.io/org/tool")
        ('ghcr.io/org/tool', 'latest')
        >>> imf.parse_repo_tag(pd.Series(["alpine:3", "quay.io/a/b"], index=["x", "y"]))
            repository     tag
        x       alpine       3
        y  quay.io/a/b  latest
    """
    if isinstance(name, str):
        try:
            reference = parse(name)
        except ReferenceError_:
            return "", ""
        return reference.familiar_name, reference.tag
    import pandas as pd

    values = name.astype("category").cat
    parsed = parse_names(values.categories.tolist())
    return pd.DataFrame(
        {
            column: pd.Categorical(parsed[column].to_pandas()).take(values.codes, allow_fill=True)
            for column in ("repository", "tag")
        },
        index=name.index,
    )
