"""Unpack an image's layers into snapshots of a node, each compared with the diff ID in the config."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from imgframe import oci
from imgframe.act.fetch import BROKEN
from imgframe.act.labels import UNCOMPRESSED, extraction_labels, is_layer_type, snapshot_label
from imgframe.act.node_session import NodeSession
from imgframe.errors import Conflict, DocumentError, ImgframeError, Missing, Refused
from imgframe.wire import records as wire

APPLY_SECONDS = 3600.0
"""Deadline of one layer."""

_TRIES = 3
_NO_ARCHIVE = ("archive/tar", "unexpected EOF", "gzip: invalid", "flate: corrupt", "zstd", "magic number")


class Unpacker:
    """Unpacks images in one namespace of one node into one snapshotter, under a lease.

    Attributes:
        begun: keys of active snapshots that this unpacker made and has not yet committed or removed.
    """

    def __init__(self, node: NodeSession, namespace: str, lease: str, snapshotter: str) -> None:
        self._client, self._namespace, self._lease = node.client, namespace, lease
        self._snapshotter, self._locks = snapshotter, node.context.locks
        self.begun: set[str] = set()

    async def unpack(
        self,
        manifest: oci.Manifest,
        config: oci.ImageConfig,
        ready: Callable[[oci.Descriptor], Awaitable[None]],
    ) -> str:
        """Make the chain of snapshots of an image and tie it to its config; its chain ID, empty without layers.

        Args:
            manifest: of the image.
            config: that it names.
            ready: awaited for each layer before it is read.

        Raises:
            DocumentError: layers and diff IDs do not match, or a layer is not what its config says.
            Missing: a layer is not there.
        """
        layers = [layer for layer in manifest.layers if is_layer_type(layer.media_type)]
        diff_ids = config.rootfs.diff_ids
        if len(layers) != len(diff_ids):
            raise DocumentError(
                f"mismatched image rootfs and manifest layers: {len(diff_ids)} diff IDs in the config "
                f"{manifest.config.digest}, {len(layers)} layers in its manifest; {BROKEN}"
            )
        chain = oci.chain_ids(diff_ids)
        if not await self._whole(chain, diff_ids):
            parent = ""
            for layer, diff_id, chain_id in zip(layers, diff_ids, chain, strict=True):
                await self._layer(layer, diff_id, chain_id, parent, ready)
                parent = chain_id
        if not chain:
            return ""
        label = snapshot_label(self._snapshotter, chain[-1])
        await self._client.content.label(self._namespace, manifest.config.digest, label, lease=self._lease)
        return chain[-1]

    async def _whole(self, chain: list[str], diff_ids: tuple[str, ...]) -> bool:
        """Whether the whole chain is there; if so, it is under the lease."""
        if not chain:
            return True
        try:
            await self._client.snapshots.stat(self._namespace, self._snapshotter, chain[-1])
            prepared = await self._prepare(chain[-1], diff_ids[-1], chain[-2] if len(chain) > 1 else "")
        except Missing:  # the parent too, where all of it went meanwhile
            return False
        if prepared is not None:  # gone meanwhile
            await self.remove(prepared[0])
        return prepared is None

    def _labels(self, chain_id: str, diff_id: str, parent: str) -> dict[str, str]:
        return extraction_labels(chain_id, diff_id, parent, self._client.opened.numbers)

    async def _prepare(
        self, chain_id: str, diff_id: str, parent: str
    ) -> tuple[str, tuple[wire.Mount, ...]] | None:
        """A key and mounts to unpack into; None if the snapshot is there already; it is then under the lease.

        Raises:
            Missing: the parent is not there.
        """
        for _ in range(_TRIES):
            key = f"extract-{self._lease}-{secrets.token_urlsafe(4)} {chain_id}"
            self.begun.add(key)
            try:
                mounts = await self._client.snapshots.prepare(
                    self._namespace,
                    self._snapshotter,
                    key,
                    parent,
                    self._labels(chain_id, diff_id, parent),
                    lease=self._lease,
                    timeout=APPLY_SECONDS,
                )
            except Missing:
                self.begun.discard(key)
                raise
            except Conflict as error:
                self.begun.discard(key)
                if error.code != "ALREADY_EXISTS":
                    raise
                await self._hold(chain_id)  # containerd 1.6 does not do it by itself
                with suppress(Missing):  # gone before: again
                    await self._client.snapshots.stat(self._namespace, self._snapshotter, chain_id)
                    return None
            else:
                return key, mounts
        raise DocumentError(f"snapshot {chain_id} comes and goes; is another program removing it? Try again")

    async def _layer(
        self,
        layer: oci.Descriptor,
        diff_id: str,
        chain_id: str,
        parent: str,
        ready: Callable[[oci.Descriptor], Awaitable[None]],
    ) -> None:
        async with self._locks.snapshot(self._client, self._namespace, self._snapshotter, chain_id):
            prepared = await self._prepare(chain_id, diff_id, parent)
            if prepared is None:
                return
            key, mounts = prepared
            try:
                await ready(layer)
                async with self._locks.unpacks(self._client):
                    await self._apply(layer, diff_id, mounts)
                await self._commit(key, chain_id, diff_id, parent)
            except ImgframeError:
                await self.remove(key)
                raise
            await self._client.content.label(
                self._namespace, layer.digest, {UNCOMPRESSED: diff_id}, lease=self._lease
            )

    async def _apply(self, layer: oci.Descriptor, diff_id: str, mounts: tuple[wire.Mount, ...]) -> None:
        wanted = wire.BlobDescriptor(layer.media_type, layer.digest, layer.size)
        try:
            applied = await self._client.snapshots.apply(
                self._namespace, wanted, mounts, lease=self._lease, timeout=APPLY_SECONDS
            )
        except Refused as error:
            if not any(words in str(error) for words in _NO_ARCHIVE):
                raise
            raise DocumentError(
                f"layer {layer.digest} is not an archive that containerd can unpack ({error}); {BROKEN}"
            ) from error
        if applied.digest != diff_id:
            raise DocumentError(
                f"wrong diff id {applied.digest} calculated on extraction of layer {layer.digest}; its config says "
                f"{diff_id}: the image is damaged or forged, do not run it",
                code="wrong_digest",
            )

    async def _commit(self, key: str, chain_id: str, diff_id: str, parent: str) -> None:
        keeps_label = self._client.opened.numbers >= (2, 0, 0)  # as this version's own unpacker
        labels = self._labels(chain_id, diff_id, parent) if keeps_label else {}
        try:
            await self._client.snapshots.commit(
                self._namespace,
                self._snapshotter,
                key,
                chain_id,
                labels,
                lease=self._lease,
                timeout=APPLY_SECONDS,
            )
        except Conflict as error:
            if error.code != "ALREADY_EXISTS":
                raise
            await self.remove(key)  # another program was faster
            await self._hold(chain_id)
        self.begun.discard(key)

    async def _hold(self, chain_id: str) -> None:
        """Put a snapshot that another client made under the lease."""
        await self._client.leases.add(
            self._namespace, self._lease, wire.Resource(f"snapshots/{self._snapshotter}", chain_id)
        )

    async def remove(self, key: str) -> None:
        """Remove an active snapshot that was begun."""
        with suppress(Missing):
            await self._client.snapshots.remove(self._namespace, self._snapshotter, key)
        self.begun.discard(key)

    async def remove_all(self) -> None:
        """Remove all active snapshots that were begun."""
        for key in sorted(self.begun):
            await self.remove(key)
