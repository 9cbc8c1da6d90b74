"""Copies: which repositories' content lies on more than one node, and what the further copies take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

NONE, NAMELESS = "<no image>", "<no repository>"
"""The rows of what no image needs, and of what only images need whose names give no repository (the CRI's digests)."""


def duplicates(inventory: Inventory) -> pd.DataFrame:
    """What lies on more than one node, one row per repository, the most bytes first.

    Columns: repository, copies (the most nodes that hold one of its blobs), one_bytes (its blobs that are on more than one
    node, each once) and duplicate_bytes (all further copies of them). Content is counted, not snapshots; once per node. A
    blob that several repositories need is divided evenly between them, bytes that are left over go one each to the first in
    the order of names; what no image needs is in the row ``<no image>``, what only images without a repository in their name
    need in ``<no repository>``: the rows sum exactly to all copies there are.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> blobs = schema.table("blobs", {"node": ["a", "b", "c"], "digest": ["sha256:1"] * 3, "size": [5] * 3})
        >>> images = schema.table("images", {"node": ["a"], "repository": ["web"], "digest": ["sha256:1"]})
        >>> imf.capacity.duplicates(imf.Inventory({"blobs": blobs, "images": images})).values.tolist()
        [['web', 3, 5, 10]]
    """
    import pandas as pd

    blobs = inventory.arrow("blobs").select(["node", "digest", "size"])
    once = blobs.group_by(["node", "digest"]).aggregate([("size", "max")])
    counted = once.group_by("digest").aggregate([("node", "count"), ("size_max", "max")])
    counted = counted.filter(pc.greater(counted["node_count"], 1))
    sizes = pd.DataFrame(
        {
            "digest": counted["digest"].cast(pa.string()).to_pandas(),
            "copies": counted["node_count"].to_numpy(),
            "one_bytes": counted["size_max_max"].fill_null(0).to_numpy(),
        }
    )
    sizes["duplicate_bytes"] = (sizes["copies"] - 1) * sizes["one_bytes"]
    frame = sizes.merge(_owners(inventory), on="digest", how="left").sort_values(["digest", "repository"])
    frame["repository"] = frame["repository"].fillna(NONE)
    owners = frame.groupby("digest", sort=False)["repository"]
    rank, number = owners.cumcount(), owners.transform("size")
    for name in ("one_bytes", "duplicate_bytes"):
        frame[name] = frame[name] // number + (rank < frame[name] % number)
    grouped = frame.groupby("repository", as_index=False).agg(
        {"copies": "max", "one_bytes": "sum", "duplicate_bytes": "sum"}
    )
    grouped = grouped.sort_values(["duplicate_bytes", "repository"], ascending=[False, True])
    counts = dict.fromkeys(("copies", "one_bytes", "duplicate_bytes"), "Int64")
    return grouped.astype({"repository": "category", **counts}).reset_index(drop=True)


def _owners(inventory: Inventory) -> pd.DataFrame:
    """The repositories of every digest that images need: of its target and of all that hangs on it."""
    import pandas as pd

    def pairs(table: str, left: str, right: str) -> pd.DataFrame:
        unique = (
            inventory.arrow(table).select([left, right]).drop_null().group_by([left, right]).aggregate([])
        )
        return pd.DataFrame(
            {name: unique[name].cast(pa.string()).to_pandas() for name in (left, right)}
        ).set_axis(["parent", "digest"], axis=1)

    below = pd.concat(
        [
            pairs("manifests", "parent_digest", "digest"),
            pairs("manifests", "digest", "config_digest"),
            pairs("layers", "manifest_digest", "digest"),
        ],
        ignore_index=True,
    ).drop_duplicates()
    whole = reached = pairs("images", "repository", "digest").set_axis(["repository", "digest"], axis=1)
    while len(reached):
        further = reached.merge(below, left_on="digest", right_on="parent")[["repository", "digest_y"]]
        further = further.set_axis(["repository", "digest"], axis=1).drop_duplicates()
        both = further.merge(whole, how="left", indicator=True)
        reached = further[np.asarray(both["_merge"] == "left_only")]
        whole = pd.concat([whole, reached], ignore_index=True)
    named = whole["repository"] != ""
    whole = whole[named | ~named.groupby(whole["digest"]).transform("any")]
    return whole.assign(repository=whole["repository"].mask(whole["repository"] == "", NAMELESS))
