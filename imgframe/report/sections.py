"""What stands on the page, in which order: sections, the figures and tables of each, and the words between them."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """A column of a table on the page: ``kind`` says how its values are read."""

    name: str
    head: str
    kind: str = "text"


class View(NamedTuple):
    """A table on the page: its columns, and the column by which its first rows are chosen (None: as it stands).

    ``once``: of several names of a digest in a store only the one that reads best.
    """

    table: str
    title: str
    columns: tuple[Column, ...]
    sort: str | None = None
    once: bool = False


class Picture(NamedTuple):
    """A figure on the page and what a reader who cannot see it should know.

    ``label`` and ``value`` are columns of the table behind it: the page adds its largest rows, and all rows of a plan.
    """

    name: str
    alt: str
    label: str = ""
    value: str = ""


class Section(NamedTuple):
    """A part of the page."""

    key: str
    title: str
    words: str
    pictures: tuple[Picture, ...] = ()
    tables: tuple[View, ...] = ()
    history: bool = False


NODE, NAMESPACE = Column("node", "node", "word"), Column("namespace", "namespace", "word")
NAME, DIGEST = Column("name", "image"), Column("digest", "digest", "digest")

SECTIONS = (
    Section(
        "repositories",
        "By repository",
        "Unique bytes are needed by images of one repository only. Shared ones are divided between those that need them, so that "
        "the bars, and the column “its share”, add up to the disk. A record whose name gives no repository (the CRI makes one for "
        "each image) counts with the other names of its digest.",
        (
            Picture(
                "repositories", "Bars: unique and shared bytes by repository", "repository", "share_bytes"
            ),
            Picture(
                "treemap", "Rectangles: bytes by repository, shared ones divided", "repository", "share_bytes"
            ),
        ),
        (
            View(
                "repositories",
                "Bytes by repository",
                (
                    Column("repository", "repository", "repository"),
                    Column("images", "images", "count"),
                    Column("share_bytes", "its share", "bytes"),
                    Column("unique_bytes", "unique", "bytes"),
                    Column("shared_bytes", "shared", "bytes"),
                    Column("reclaimable_bytes", "reclaimable", "bytes"),
                    Column("logical_bytes", "logical", "bytes"),
                ),
                "share_bytes",
            ),
        ),
    ),
    Section(
        "growth",
        "Growth and forecast",
        "The six nodes nearest to their thresholds (85 % of the disk). The rate is that of the growth between prunes; its interval is "
        "90 %, and where it contains zero there is no trend and no date.",
        (Picture("growth", "Lines: bytes over time by node, with the way to the threshold"),),
        (
            View(
                "forecast",
                "When each disk is full, if nothing is pruned",
                (
                    NODE,
                    Column("used_bytes", "used", "bytes"),
                    Column("disk_total", "disk", "bytes"),
                    Column("bytes_per_day", "per day", "bytes"),
                    Column("trend", "trend", "word"),
                    Column("prunes", "prunes seen", "count"),
                    Column("days_to_threshold", "days to 85 %", "days"),
                    Column("days_to_full", "days to full", "days"),
                    Column("days_to_full_low", "at the earliest", "days"),
                    Column("days_to_full_high", "at the latest", "days"),
                ),
            ),
        ),
        history=True,
    ),
    Section(
        "reclaimable",
        "Reclaimable",
        "What disappears when every image is deleted that no container uses by name, digest or snapshots and nobody pinned: the "
        "garbage collector's marking replayed on the tables, exact to the byte. What these images share with images that stay "
        "is held.",
        (
            Picture(
                "waterfall",
                "Bars: bytes before, freed content and snapshots, held, and after",
                "step",
                "bytes",
            ),
        ),
        (
            View(
                "reclaimable",
                "Unused images, by what each frees alone",
                (
                    NODE,
                    NAMESPACE,
                    NAME,
                    DIGEST,
                    Column("created_at", "here since", "time"),
                    Column("freed_alone_bytes", "frees alone", "bytes"),
                ),
            ),
            View(
                "held",
                "Held: what they refer to and stays, by holder",
                (
                    NODE,
                    NAMESPACE,
                    Column("holder_kind", "held by", "word"),
                    Column("holder", "holder"),
                    Column("things", "things", "count"),
                    Column("held_bytes", "bytes", "bytes"),
                ),
            ),
            View(
                "kept",
                "Unused by name, and kept all the same",
                (NODE, NAMESPACE, NAME, DIGEST, Column("reason", "reason", "word")),
            ),
        ),
    ),
    Section(
        "orphans",
        "Orphans",
        "Bytes that neither an image nor a container holds, and what becomes of them.",
        (),
        (
            View(
                "orphan_reasons",
                "By reason",
                (
                    Column("reason", "reason", "word"),
                    Column("things", "things", "count"),
                    Column("orphan_bytes", "bytes", "bytes"),
                    Column("oldest", "oldest", "time"),
                    Column("action", "what becomes of it"),
                ),
            ),
            View(
                "orphans",
                "The largest",
                (
                    NODE,
                    NAMESPACE,
                    Column("kind", "kind", "word"),
                    Column("key", "key", "digest"),
                    Column("size", "bytes", "bytes"),
                    Column("reason", "reason", "word"),
                    Column("holder", "holder"),
                    Column("created_at", "since", "time"),
                ),
                "size",
            ),
        ),
    ),
    Section(
        "nodes",
        "Nodes",
        "What each node's store holds: content is compressed, snapshots are unpacked.",
        (
            Picture(
                "nodes",
                "Heat map: bytes of content, of snapshots and reclaimable ones by node",
                "node",
                "snapshot_bytes",
            ),
        ),
        (
            View(
                "nodes",
                "Nodes",
                (
                    NODE,
                    Column("containerd_version", "containerd", "word"),
                    Column("platform", "platform", "word"),
                    Column("images", "images", "count"),
                    Column("content_bytes", "content", "bytes"),
                    Column("snapshot_bytes", "snapshots", "bytes"),
                    Column("reclaimable_bytes", "reclaimable", "bytes"),
                    Column("disk_total", "disk", "bytes"),
                    Column("disk_free", "free", "bytes"),
                    Column("collected_at", "read at", "time"),
                    Column("status", "status", "word"),
                ),
                "snapshot_bytes",
            ),
        ),
    ),
    Section(
        "duplicates",
        "Copies across nodes",
        "Content that lies on more than one node. Copies are no waste where every node runs the image; they are what a local "
        "mirror or a shared base would save in pulls.",
        (
            Picture(
                "duplicates",
                "Bars: bytes of the first and of all further copies by repository",
                "repository",
                "duplicate_bytes",
            ),
        ),
        (
            View(
                "duplicates",
                "Copies by repository",
                (
                    Column("repository", "repository", "repository"),
                    Column("copies", "nodes", "count"),
                    Column("one_bytes", "one copy", "bytes"),
                    Column("duplicate_bytes", "further copies", "bytes"),
                ),
            ),
        ),
    ),
    Section(
        "age",
        "Age against size",
        "Each point is an image record: how long it has been on its node, and the bytes that no other image there needs. Large, "
        "old and not in use, to the upper right, is what to look at first.",
        (Picture("age", "Points: age and unique size of every image record, those in use apart"),),
        (
            View(
                "images",
                "The largest alone, one row for all names of a digest",
                (
                    NODE,
                    NAMESPACE,
                    NAME,
                    Column("created_at", "here since", "time"),
                    Column("built_at", "built", "time"),
                    Column("unique_size", "alone", "bytes"),
                    Column("shared_size", "shared", "bytes"),
                    Column("containers", "containers", "count"),
                    Column("pinned", "pinned", "flag"),
                ),
                "unique_size",
                once=True,
            ),
        ),
    ),
    Section(
        "layer_sharing",
        "Layer sharing",
        "Bytes that pairs of images have in common, in the namespace whose images share the most.",
        (Picture("layer_sharing", "Heat map: bytes that pairs of images share"),),
        (
            View(
                "layer_sharing",
                "Pairs that share the most",
                (
                    Column("image", "image"),
                    Column("other_image", "and"),
                    Column("shared_bytes", "share", "bytes"),
                ),
            ),
        ),
    ),
    Section(
        "changes",
        "What changed",
        "From each collection to the next: what came upward, what went downward.",
        (Picture("changes", "Bars: changes of images by day and kind"),),
        (
            View(
                "changes",
                "The newest changes",
                (
                    Column("collected_at", "seen at", "time"),
                    NODE,
                    NAMESPACE,
                    NAME,
                    Column("change", "change", "word"),
                    Column("content_delta", "content", "bytes"),
                    Column("unpacked_delta", "unpacked", "bytes"),
                ),
                "collected_at",
            ),
            View(
                "last_used",
                "Longest not seen in use",
                (
                    NODE,
                    NAMESPACE,
                    NAME,
                    Column("first_seen", "first seen", "time"),
                    Column("last_seen", "last seen", "time"),
                    Column("last_used", "last in use", "time"),
                    Column("observations", "collections", "count"),
                    Column("not_observed_before", "not observed before", "time"),
                ),
            ),
        ),
        history=True,
    ),
    Section(
        "errors",
        "Errors",
        "What could not be read; it is in none of the numbers above.",
        (),
        (
            View(
                "errors",
                "Failures",
                (
                    NODE,
                    NAMESPACE,
                    Column("stage", "stage", "word"),
                    Column("subject", "subject"),
                    Column("code", "code", "word"),
                    Column("message", "message"),
                ),
            ),
        ),
    ),
)
