"""Undo leases: they hold what a plan deletes, and a document that says which records that was.

Everything that an undo needs is on the node: the leases carry the id of the plan in a label, and name in another the documents
in the content store, held by the same lease, that list the records. So anybody who reaches the node can undo.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from imgframe import digests
from imgframe.act import leases
from imgframe.act.steps import Step
from imgframe.act.tasks import finished, gather_or_cancel
from imgframe.errors import DocumentError, ImgframeError, Missing, SchemaError
from imgframe.golang.time import read_rfc3339
from imgframe.wire import Client
from imgframe.wire.leases import EXPIRE
from imgframe.wire.records import Resource, labels_of

PLAN = "imgframe.io/undo"
"""Label of an undo lease: the id of the plan."""

DOCUMENTS = "imgframe.io/undo.documents"
"""Label of an undo lease: digests of its documents, separated by commas."""

VERSION = 1
_DOCUMENT_BYTES = 4 << 20
_MOST_DOCUMENTS = 50
"""containerd allows 4096 bytes for the name and value of a label."""


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """An image record that a plan deletes, as it was."""

    name: str
    digest: str
    media_type: str
    size: int
    labels: str

    @classmethod
    def of(cls, step: Step) -> HeldRecord:
        """The record that a step deletes."""
        return cls(
            step["name"],
            step["digest"],
            step["media_type"] or "",
            step["target_size"] or 0,
            step["record_labels"] or "{}",
        )


@dataclass(frozen=True, slots=True)
class UndoLease:
    """One undo lease as it is on a node.

    Attributes:
        id: of the lease.
        namespace: of the lease.
        plan: whose deletions it holds.
        expires_at: by the node's clock [ns]; None: never, or not readable.
        records: what the plan deleted, or was about to delete, under this lease.
        problem: why the records cannot be read; empty: they were.
    """

    id: str
    namespace: str
    plan: str
    expires_at: int | None
    records: tuple[HeldRecord, ...] = ()
    problem: str = ""


async def held(client: Client, namespace: str, plan: str | None = None) -> list[UndoLease]:
    """The undo leases of a namespace, of one plan or of all, with the records that they hold."""
    found = []
    for lease in await client.leases.list(namespace):
        labels = labels_of(lease.labels)
        if PLAN not in labels or plan not in (None, labels[PLAN]):
            continue
        parsed = read_rfc3339(labels.get(EXPIRE, ""))
        bare = UndoLease(lease.id, namespace, labels[PLAN], parsed and parsed[0])
        try:
            named = labels.get(DOCUMENTS, "").split(",")
            parts = await asyncio.gather(*(_read(client, namespace, digest) for digest in named))
            found.append(replace(bare, records=tuple(record for part in parts for record in part)))
        except (Missing, DocumentError, SchemaError) as error:
            found.append(replace(bare, problem=str(error)))
    return found


async def hold(client: Client, plan: str, seconds: float, steps: Iterable[Step]) -> int:
    """Hold what the steps delete, and all that the plan holds already, for so many seconds; gives when that ends [s, node's clock].

    containerd cannot extend a lease: a new one takes over from those of earlier applications. If that fails, it leaves nothing.

    Raises:
        WireError: the content could not be held; nothing may be deleted then.
    """
    records: dict[str, set[HeldRecord]] = {}
    for step in steps:
        records.setdefault(step["namespace"], set()).add(HeldRecord.of(step))
    made: list[tuple[str, str]] = []
    replaced: list[UndoLease] = []
    ends: list[int] = []
    try:
        for namespace, mine in records.items():
            earlier = [lease for lease in await held(client, namespace, plan) if not lease.problem]
            lease = f"{leases.PREFIX}undo-{plan}-{secrets.token_hex(4)}"
            made.append((namespace, lease))
            mine = mine.union(*(one.records for one in earlier))
            ends.append(await _fill(client, namespace, lease, plan, seconds, mine, earlier))
            replaced += earlier
    except BaseException as error:
        problem = await finished(_drop(client, made))
        if problem:
            error.add_note(problem)
        raise
    for old in replaced:
        with suppress(Missing):
            await client.leases.delete(old.namespace, old.id, sync=False)
    return min(ends)


async def _fill(
    client: Client,
    namespace: str,
    lease: str,
    plan: str,
    seconds: float,
    records: set[HeldRecord],
    earlier: list[UndoLease],
) -> int:
    documents = _documents(plan, namespace, records)
    labels = {PLAN: plan, DOCUMENTS: ",".join(documents)}
    ends = await leases.create(client, namespace, lease, seconds, labels)
    resources = {Resource("content", digest) for digest in (*documents, *(one.digest for one in records))}
    for old in earlier:
        resources.update(await client.leases.resources(namespace, old.id))
    await gather_or_cancel([client.leases.add(namespace, lease, one) for one in resources])
    for digest, data in documents.items():
        await client.content.write(namespace, f"{lease}-{digest[-16:]}", digest, data, {}, lease=lease)
    return ends


async def _drop(client: Client, made: list[tuple[str, str]]) -> str:
    """Delete the leases of a hold that failed; what could not be done, in a sentence."""
    try:
        for namespace, lease in made:
            with suppress(Missing):
                await client.leases.delete(namespace, lease, sync=False)
    except ImgframeError as error:
        return f"a lease may be left until it expires, because it could not be deleted: {error}"
    return ""


async def end(client: Client, namespace: str, plan: str) -> None:
    """End the undo leases of a plan in a namespace, if every record that they hold is back; else they stay."""
    found = await held(client, namespace, plan)
    if not found:
        return
    there = {image.name: image.target.digest for image in await client.images.list(namespace)}
    for lease in found:
        if not lease.problem and all(there.get(record.name) == record.digest for record in lease.records):
            with suppress(Missing):
                await client.leases.delete(namespace, lease.id, sync=False)


def _documents(plan: str, namespace: str, records: set[HeldRecord]) -> dict[str, bytes]:
    """The records as JSON documents by their digests, each of a size that containerd takes in one message.

    Raises:
        SchemaError: there are more records than the label of a lease can name documents for.
    """
    parts: list[list[dict[str, Any]]] = [[]]
    size = 0
    for record in sorted(records, key=lambda one: (one.name, one.digest)):
        row = {
            "name": record.name,
            "digest": record.digest,
            "media_type": record.media_type,
            "size": record.size,
            "labels": json.loads(record.labels),
        }
        length = len(json.dumps(row))
        if size and size + length > _DOCUMENT_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += length
    if len(parts) > _MOST_DOCUMENTS:
        raise SchemaError(
            f"the records of {namespace!r} are too large to be held for undo; delete them in several plans"
        )
    head = {"imgframe_undo": VERSION, "plan": plan, "namespace": namespace}
    texts = (json.dumps({**head, "records": part}).encode() for part in parts)
    return {digests.sha256(text): text for text in texts}


async def _read(client: Client, namespace: str, digest: str) -> list[HeldRecord]:
    if (why := digests.digest_error(digest)) is not None:
        raise SchemaError(f"{digest!r} names no undo document: {why}")
    data = await client.content.document(namespace, digest)
    if not digests.matches(data, digest):
        raise SchemaError(f"{digest} is not what its digest says")
    try:
        document = json.loads(data)
        if document["imgframe_undo"] != VERSION or document["namespace"] != namespace:
            raise SchemaError(
                f"{digest} is an undo document of version {document['imgframe_undo']!r} and namespace "
                f"{document['namespace']!r}; expected {VERSION} and {namespace!r}"
            )
        return [_record(row) for row in document["records"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SchemaError(f"{digest} is not an undo document: {error}") from error


def _record(row: Mapping[str, Any]) -> HeldRecord:
    texts = [row["name"], row["digest"], row["media_type"]]
    labels, size = row["labels"], row["size"]
    if not all(isinstance(text, str) for text in (*texts, *labels, *labels.values())):
        raise TypeError(f"a record is not text: {texts[0]!r}")
    if type(size) is not int or size < 0:
        raise TypeError(f"the size of a record is {size!r}")
    return HeldRecord(texts[0], texts[1], texts[2], size, json.dumps(labels, ensure_ascii=False))
