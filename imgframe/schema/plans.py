"""The tables of a Plan and of a Result: every column with its type, unit and meaning."""

from __future__ import annotations

import pyarrow as pa

from imgframe.schema.columns import CATEGORY, FLOAT, INT, NAMESPACE, NODE, TIME, described

PLANS: dict[str, pa.Schema] = {
    "steps": described(
        step=(INT, "order, from 0"),
        action=(CATEGORY, "delete, create, tag, pull, ensure or push"),
        node=NODE,
        namespace=NAMESPACE,
        name=(CATEGORY, "record to change; for pull and ensure the reference"),
        digest=(CATEGORY, "target digest for which the step was decided; NA: no record expected"),
        to=(CATEGORY, "new name (tag) or destination (push)"),
        media_type=(CATEGORY, "media type of the target"),
        target_size=(INT, "size of the target document as the record declares it [bytes]"),
        record_labels=(CATEGORY, "labels of the record, JSON object"),
        reason=(CATEGORY, "why the step is in the plan"),
        predicted_bytes=(
            INT,
            "bytes that the step frees (or fetches) in addition to the steps before it [bytes]; NA: unknown",
        ),
        options=(CATEGORY, "how it is done, JSON object"),
    ),
    "kept": described(
        node=NODE,
        namespace=NAMESPACE,
        name=(CATEGORY, "record"),
        digest=(CATEGORY, "target digest"),
        reason=(CATEGORY, "why it is kept"),
    ),
    "outcomes": described(
        step=(INT, "step of the plan"),
        status=(
            CATEGORY,
            "done, gone (nothing left to do), refused, failed, unknown (could not be learnt), stopped (not started)",
        ),
        message=(CATEGORY, "why it was refused or failed, and the next step"),
        seconds=(FLOAT, "how long it took [s]"),
        started_at=(TIME, "when it started"),
        before=(CATEGORY, "target digest on the node before; NA: no record"),
        after=(CATEGORY, "target digest on the node afterwards; NA: no record"),
        record=(CATEGORY, "name of the record afterwards, for pull and ensure"),
        remote=(CATEGORY, "digest that the registry gave; NA: not asked"),
        snapshotter=(CATEGORY, "snapshotter that the image was unpacked into"),
        fetched_bytes=(INT, "bytes received or sent over the network [bytes]"),
        present_bytes=(INT, "bytes that were already present [bytes]"),
        via=(CATEGORY, "client or transfer"),
    ),
}
"""The schema of the tables of a Plan and a Result, by name."""
