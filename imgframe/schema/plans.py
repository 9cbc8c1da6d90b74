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
    "kept": described(
        node=NODE,
        namespace=NAMESPACE,
        name=(CATEGORY, "record"),
        digest=(CATEGORY, "target digest"),
        reason=(CATEGORY, "why it is kept"),
    ),
    "outcomes": described(
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
