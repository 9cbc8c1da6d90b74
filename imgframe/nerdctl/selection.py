"""Which images nerdctl's commands select: unused, dangling, ``images`` and ``image prune``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from imgframe import reference
from imgframe.errors import InputError, ReferenceError_
from imgframe.filters import columns
from imgframe.filters.filter import Filter, View, apply_filters, kept, refused
from imgframe.filters.parser import parse_filters, split_flags
from imgframe.filters.references import filter_dangling_images
from imgframe.inventory import Inventory

_BITMAP = 1 << 27
"""Up to this many (store, name) pairs the used ones are marked in a bit table; above, they are searched for."""


def get_dangling_images(images: pd.DataFrame, *filters: Filter) -> pd.DataFrame:
    """The dangling images that all filters keep (nerdctl's GetDanglingImages); the filters see dangling images only.

    Dangling means a name without a tag: ``repo@sha256:…``, bare digests (the CRI's), CIDs, and names that do not parse.
    Containers are not considered.

    Raises:
        FilterError: a filter that Go refuses.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> images = pd.DataFrame({"name": ["docker.io/library/alpine:3.20", "sha256:" + "0" * 64]})
        >>> imf.get_dangling_images(images).index.tolist()
        [1]
    """
    return apply_filters(images, filter_dangling_images(), *filters)


def get_unused_images(inventory: Inventory, *filters: Filter) -> pd.DataFrame:
    """The images that no container names and that all filters keep (nerdctl's GetUnusedImages).

    Used is a record whose name equals the image field of a container of the same node and namespace byte for byte: another
    tag or digest of a running image counts as unused (the column ``used_by_digest`` knows better, and ``prune`` keeps it).
    Images of a node or namespace whose containers could not be read (see the table ``errors``) are not selected.

    Raises:
        FilterError: a filter that Go refuses.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> one = {"node": "a", "namespace": "default"}
        >>> inv = imf.Inventory({
        ...     "images": pd.DataFrame({**one, "name": ["docker.io/library/alpine:3.20", "docker.io/library/nginx:1"]}),
        ...     "containers": pd.DataFrame({**one, "image": ["docker.io/library/nginx:1"]}),
        ... })
        >>> imf.get_unused_images(inv)["name"].tolist()
        ['docker.io/library/alpine:3.20']
    """
    images = inventory.images
    return images[kept(View(images, images, unused(inventory)), filters)]


def unused(inventory: Inventory) -> Any:
    """A boolean array over ``inventory.images``: where it is known that no container names the image."""
    images = inventory.images
    free = ~_named_by(images, inventory.containers)
    errors = inventory.errors
    for node, namespace in errors.loc[errors["stage"] == "containers", ["node", "namespace"]].itertuples(
        index=False
    ):
        unread = images["node"] == node
        if not pd.isna(namespace):
            unread &= images["namespace"] == namespace
        free &= ~unread.to_numpy(dtype=bool, na_value=True)
    return free


def _named_by(images: pd.DataFrame, containers: pd.DataFrame) -> Any:
    """Which images a container of the same store names."""
    names = columns.text(images, "name", "get_unused_images")
    wanted = columns.text(containers, "image", "get_unused_images")
    (rows, held), size = columns.store_numbers(images, containers)
    places = np.append(names.words.get_indexer(wanted.words), -1)[wanted.codes]
    there = places >= 0
    places, held = places[there], held[there].astype("int64")
    count = max(len(names.words), 1)
    if size * count <= _BITMAP:
        table = np.zeros(size * count + 1, dtype=bool)
        table[held * count + places] = True
        return _marked(table, rows, names.codes, count)
    mentioned = np.zeros(count + 1, dtype=bool)
    mentioned[places] = True
    used = columns.gather(mentioned, names.codes)
    doubtful = np.flatnonzero(used)
    keys = np.unique(held * count + places)
    own = rows[doubtful].astype("int64") * count + names.codes[doubtful]
    at = np.minimum(np.searchsorted(keys, own), len(keys) - 1)
    used[doubtful] = keys[at] == own if len(keys) else False
    return used


def _marked(table: Any, rows: Any, codes: Any, count: int) -> Any:
    """``table[store * count + name]`` per row, the last entry where the name is missing.

    Eight entries share a byte, so that the table fits the processor's cache.
    """
    bits = np.packbits(table, bitorder="little")
    out = np.empty(len(codes), dtype=bool)
    all_there = len(codes) and codes.min() >= 0
    keys_room, byte_room = (np.empty(columns.CHUNK, dtype="int64") for _ in range(2))
    for start in range(0, len(codes), columns.CHUNK):
        part = slice(start, start + columns.CHUNK)
        size = len(codes[part])
        keys, places = keys_room[:size], byte_room[:size]
        np.multiply(rows[part], count, out=keys, dtype="int64")
        keys += codes[part]
        if not all_there:
            keys[codes[part] < 0] = len(table) - 1
        np.right_shift(keys, 3, out=places)
        found = np.take(bits, places, mode="wrap")
        np.bitwise_and(keys, 7, out=keys)
        found >>= keys.astype(np.uint8)
        out[part] = found & 1
    return out


def select_images(
    images: Inventory | pd.DataFrame,
    filters: Iterable[str] = (),
    argument: str | None = None,
    *,
    dialect: str = "nerdctl",
    now: Any = None,
) -> pd.DataFrame:
    """The image records that ``nerdctl images [argument] --filter …`` lists, newest ``created_at`` first.

    ``filters`` are the values of the ``--filter`` flags. ``argument`` is a name: with a tag or digest it selects the record
    with the normalised name, without one every tag of the repository. Equal times keep the order of the frame, missing
    times come last.

    Raises:
        FilterError: nerdctl refuses the argument or a filter; the message is its own.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> from imgframe.nerdctl.selection import select_images
        >>> images = pd.DataFrame({
        ...     "name": ["docker.io/library/alpine:3.19", "docker.io/library/alpine:3.20", "docker.io/library/nginx:1"],
        ...     "created_at": pd.to_datetime(["2024-01-01", "2024-03-01", "2024-02-01"], utc=True),
        ... })
        >>> select_images(images, ["reference=^docker"], "alpine")["name"].tolist()
        ['docker.io/library/alpine:3.20', 'docker.io/library/alpine:3.19']
    """
    frame = images.images if isinstance(images, Inventory) else images
    given = split_flags(filters, flag="-f, --filter") if dialect == "nerdctl" else list(filters)
    matters = None if argument is None else _by_argument(frame, argument)
    clauses = parse_filters(given, dialect=dialect).clauses("images", now=now)
    found = np.flatnonzero(kept(View(frame, frame, matters), clauses))
    ticks = columns.times(frame, "created_at", "select_images").ticks[found]
    return frame.iloc[found[np.argsort(~ticks, kind="stable")]]  # ~t = -t - 1: newest first, without overflow


def _by_argument(frame: pd.DataFrame, argument: str) -> Any:
    """Which records ``nerdctl images argument`` lists."""
    try:
        wanted = reference.parse(argument)
    except ReferenceError_ as error:
        raise refused(error.go, f"an image name; got {argument!r}") from None
    names = columns.text(frame, "name", "select_images")
    if wanted.explicit_tag or wanted.digest or not wanted.path:
        fits = [word == wanted.string for word in names.words]
    else:
        fits = [word.startswith(f"{wanted.name}:") for word in names.words]
    return columns.gather(np.array([*fits, False]), names.codes)


def prune_candidates(
    inventory: Inventory | pd.DataFrame,
    filters: Iterable[str] = (),
    *,
    all: bool = False,
    dialect: str = "nerdctl",
    now: Any = None,
) -> pd.DataFrame:
    """The image records that ``nerdctl image prune [--all] --filter …`` would remove, in the order of the table.

    Without ``all`` every dangling record, used or not; with it every record that no container names. Of the filters only
    ``label`` and ``until`` have an effect; nerdctl parses the others and ignores them (:func:`lint_filters` warns). This is
    what nerdctl would do, pitfalls included: :func:`imgframe.prune` keeps what is pinned, used or unknown.

    Raises:
        FilterError: nerdctl refuses a filter; the message is its own.
        InputError: ``all`` with a frame, which knows no containers.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> from imgframe.nerdctl.selection import prune_candidates
        >>> images = pd.DataFrame({"name": ["docker.io/library/alpine:3.20", "sha256:" + "0" * 64]})
        >>> prune_candidates(images, ["reference=alpine"])["name"].str[:9].tolist()
        ['sha256:00']
    """
    given = split_flags(filters) if dialect == "nerdctl" else list(filters)
    clauses = parse_filters(given, dialect=dialect).clauses("image prune", now=now)
    if all:
        if not isinstance(inventory, Inventory):
            raise InputError(
                "prune_candidates(all=True) needs an Inventory; a frame of images has no containers"
            )
        return get_unused_images(inventory, *clauses)
    frame = inventory.images if isinstance(inventory, Inventory) else inventory
    return get_dangling_images(frame, *clauses)
