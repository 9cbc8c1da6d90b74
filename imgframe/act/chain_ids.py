"""Chain IDs of an image as a node has it: those of all its platforms, by which a container's snapshots tell that it is used."""

from __future__ import annotations

from imgframe import oci
from imgframe.digests import matches
from imgframe.errors import DocumentError, Missing
from imgframe.wire import Client


async def chain_ids(client: Client, namespace: str, target: oci.Descriptor) -> frozenset[str] | None:
    """Chain IDs of the manifests below a target that are in the namespace; None: a document could not be read."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [target]
    while waiting:
        here = waiting.pop()
        if here.digest in seen:
            continue
        seen.add(here.digest)
        try:
            if oci.is_index_type(here.media_type):
                data = await _document(client, namespace, here.digest)
                if data is not None:
                    waiting += oci.checked_index(data, here.media_type, here.digest).manifests
                elif here is target:
                    return None
            elif oci.is_manifest_type(here.media_type):
                data = await _document(client, namespace, here.digest)
                if data is None:
                    continue
                manifest = oci.checked_manifest(data, here.media_type, here.digest)
                config = await _document(client, namespace, manifest.config.digest)
                if config is None:
                    return None
                found.update(oci.chain_ids(oci.decode_config(config).rootfs.diff_ids)[-1:])
        except DocumentError:
            return None
    return frozenset(found)


async def _document(client: Client, namespace: str, digest: str) -> bytes | None:
    """A document of the namespace; None: it is not there.

    Raises:
        DocumentError: it is too large, or does not have its digest.
    """
    try:
        data = await client.content.document(namespace, digest)
    except Missing:
        return None
    if not matches(data, digest):
        raise DocumentError(f"{digest}: the content has another digest", code="wrong_digest")
    return data
