"""nerdctl's ReadIndex, ReadManifest and ReadImageConfig on a saved inventory or a live node.

They decode the bytes that the inventory holds (table ``documents``), so the result is exact: the typed document and its
descriptor.
"""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imgframe import oci, platforms
from imgframe.errors import InputError, NotFound
from imgframe.inventory import Inventory
from imgframe.inventory_documents import documents_of
from imgframe.nerdctl.documents import LocatedDocument, config_in, index_in, manifest_in


def read_index(
    source: Any, name: str, *, node: str | None = None, namespace: str | None = None
) -> LocatedDocument:
    """The index of an image, as ``(document, descriptor)``: an :class:`imgframe.oci.Index`; both None if it has none.

    Args:
        source: an Inventory, or a node to collect from (anything that :func:`imgframe.collect` accepts).
        name: the record's name, byte for byte; else as it is normalised (``alpine`` for ``docker.io/library/alpine:latest``).
        node: the node, if several have the name.
        namespace: the namespace, if several have the name.

    Raises:
        NotFound: there is no image with that name, or its document is not in the store.
        InputError: several nodes or namespaces have the name and none was chosen.
        DocumentError: the document cannot be read, with Go's error text; ``descriptor`` says which one.

    Example:
        >>> import imgframe as imf
        >>> imf.read_index(imf.Inventory({}), "alpine")
        Traceback (most recent call last):
        imgframe.errors.NotFound: there is no image named 'alpine'
    """
    target, documents = _open(source, name, node, namespace)
    return index_in(target, documents)


def read_manifest(
    source: Any,
    name: str,
    *,
    platform: str | platforms.Platform | platforms.Matcher | None = None,
    node: str | None = None,
    namespace: str | None = None,
) -> LocatedDocument:
    """The manifest of an image for a platform, as ``(document, descriptor)``: an :class:`imgframe.oci.Manifest`.

    Both are None where Go finds none and returns no error (nested indexes). ``platform``: None is what the node itself
    would run, ``"*"`` any, a specifier such as ``linux/arm64`` exactly that, or a matcher of :mod:`imgframe.platforms`.
    Other arguments and errors as :func:`read_index`; NotFound also when no manifest matches.

    Example:
        >>> import imgframe as imf
        >>> imf.read_manifest(imf.Inventory({}), "alpine", platform="linux/arm64")
        Traceback (most recent call last):
        imgframe.errors.NotFound: there is no image named 'alpine'
    """
    target, documents = _open(source, name, node, namespace)
    return manifest_in(target, platforms.matcher_of(platform, documents.host), documents)


def read_image_config(
    source: Any,
    name: str,
    *,
    platform: str | platforms.Platform | platforms.Matcher | None = None,
    node: str | None = None,
    namespace: str | None = None,
) -> LocatedDocument:
    """The config of an image for a platform, as ``(document, descriptor)``: an :class:`imgframe.oci.ImageConfig`.

    Its labels hold Docker's health check as ``nerdctl/healthcheck``. Arguments and errors as :func:`read_manifest`.

    Example:
        >>> import imgframe as imf
        >>> imf.read_image_config(imf.Inventory({}), "alpine")
        Traceback (most recent call last):
        imgframe.errors.NotFound: there is no image named 'alpine'
    """
    target, documents = _open(source, name, node, namespace)
    return config_in(target, platforms.matcher_of(platform, documents.host), documents)


def _open(
    source: Any, name: str, node: str | None, namespace: str | None
) -> tuple[oci.Descriptor, oci.Documents]:
    """The target of the one image with this name, and the documents of its namespace."""
    inventory = source if isinstance(source, Inventory) else _collected(source, namespace)
    row = _only(inventory.arrow("images"), name, node, namespace)
    target = oci.Descriptor(row["media_type"] or "", row["digest"], row["target_size"] or 0)
    return target, documents_of(inventory, row["node"], row["namespace"])


def _collected(source: Any, namespace: str | None) -> Inventory:
    if not isinstance(source, str | os.PathLike | dict) and not hasattr(source, "address"):
        raise InputError(
            f"{source!r} is neither an Inventory nor a node (a path, an address, a dict or a Node)"
        )
    from imgframe.collector import collect

    return collect(
        [source], namespaces=None if namespace is None else [namespace], usage="none", progress=False
    )


def _only(images: pa.Table, name: str, node: str | None, namespace: str | None) -> dict[str, Any]:
    """The only row with the name."""
    chosen = images.select(["node", "namespace", "name", "digest", "media_type", "target_size"])
    for column, wanted in (("node", node), ("namespace", namespace)):
        if wanted is not None:
            chosen = chosen.filter(pc.equal(chosen[column], wanted))
    found = chosen.filter(pc.equal(chosen["name"], name))
    if not found.num_rows and (normal := _normalised(name)) is not None:
        found = chosen.filter(pc.equal(chosen["name"], normal))
    rows = found.to_pylist()
    if len(rows) == 1:
        return rows[0]
    if not rows:
        where = f" on node {node!r}" if node is not None else ""
        where += f" in namespace {namespace!r}" if namespace is not None else ""
        raise NotFound(f"there is no image named {name!r}{where}")
    stores = ", ".join(f"{row['node']}/{row['namespace']}" for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    raise InputError(
        f"{len(rows)} stores have an image named {name!r} ({stores}{more}); choose with node= and namespace="
    )


def _normalised(name: str) -> str | None:
    from imgframe import reference
    from imgframe.errors import ReferenceError_

    try:
        return reference.parse(name).string
    except ReferenceError_:
        return None
