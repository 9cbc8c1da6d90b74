"""The documents that an inventory holds of one namespace of a node: from its tables to records of :mod:`imgframe.oci`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imgframe import oci, platforms
from imgframe.arrow.keys import NONE, Ints, scopes, unify
from imgframe.errors import DocumentError
from imgframe.inventory import Inventory, memoised


class _Contents(NamedTuple):
    """The tables by digest: a number for each digest, its row in the table ``documents`` (-1: not there).

    ``blobs`` are the sorted numbers of the blobs of each node and namespace, ``decoded`` the records made of documents so
    far: a document that a thousand nodes hold is decoded once.
    """

    number: dict[str, int]
    document: Ints
    blobs: dict[tuple[str, str], Ints]
    hosts: dict[str, str | None]
    decoded: dict[Any, Any]


@memoised
def documents_of(inventory: Inventory, node: str, namespace: str) -> oci.Documents:
    """The documents of one namespace of a node; its host is the platform of the node.

    One rule decides what is not there: a digest that the table ``blobs`` does not list for the namespace is not in the
    store, which is NotFound as in containerd. A blob that it lists and of which the table ``documents`` has no bytes is
    there but unknown, never absent: reading it raises a DocumentError with the message and code of its row in the table
    ``errors``, and with code ``not_collected`` where there is no such row.

    Example:
        >>> import imgframe as imf
        >>> documents_of(imf.Inventory({}), "a", "default").host
        Platform(os='linux', architecture='amd64', variant='', os_version='', os_features=())
    """
    contents = _contents(inventory)
    own = contents.blobs.get((node, namespace), np.empty(0, np.int64))
    data = inventory.arrow("documents")["data"]

    def read(digest: str) -> bytes | None:
        number = contents.number.get(digest, NONE)
        place = int(np.searchsorted(own, number))
        if number == NONE or place == len(own) or own[place] != number:
            return None
        row = int(contents.document[number])
        if row == NONE:
            raise _unread(inventory, node, namespace, digest)
        return data[row].as_py()

    platform = contents.hosts.get(node)
    host = platforms.normalize(platforms.parse(platform)) if platform else platforms.LINUX_AMD64
    return oci.Documents(read, host, contents.decoded)


@memoised
def _contents(inventory: Inventory) -> _Contents:
    blobs, documents, nodes = (inventory.arrow(name) for name in ("blobs", "documents", "nodes"))
    (blob, document), words = unify([blobs["digest"], documents["digest"]])
    row = np.full(len(words) + 1, NONE, np.int64)  # the last entry is that of NA
    row[document] = np.arange(len(document))
    (scope,), _ = scopes([blobs])
    order = np.lexsort((blob, scope))
    blob, scope = blob[order], scope[order]
    starts = np.flatnonzero(np.append(True, scope[1:] != scope[:-1])[: len(scope)])
    keys = blobs.select(["node", "namespace"]).take(pa.array(order[starts]))
    return _Contents(
        {word: number for number, word in enumerate(words.to_pylist())},
        row,
        dict(zip(_pairs(keys), np.split(blob, starts[1:]), strict=False)),
        dict(zip(nodes["node"].to_pylist(), nodes["platform"].to_pylist(), strict=True)),
        {},
    )


def _pairs(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["node"].to_pylist(), table["namespace"].to_pylist(), strict=True))


@memoised
def _problems(inventory: Inventory) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Code and message of the table ``errors`` by node, namespace and subject."""
    names = ("node", "namespace", "subject", "code", "message")
    rows = zip(*(inventory.arrow("errors")[name].to_pylist() for name in names), strict=True)
    return {(node, namespace, subject): (code, message) for node, namespace, subject, code, message in rows}


def _unread(inventory: Inventory, node: str, namespace: str, digest: str) -> DocumentError:
    problem = _problems(inventory).get((node, namespace, digest))
    if problem is None:
        words = f"content digest {digest}: the inventory does not hold its bytes"
        return DocumentError(words, code="not_collected")
    code, message = problem
    return DocumentError(message or code, code=code)
