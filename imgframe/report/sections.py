"""What stands on the page, in which order: sections, the figures and tables of each, and the words between them."""

from __future__ import annotations

from typing import NamedTuple


class PageColumn(NamedTuple):
    """A column of a table on the page: ``kind`` says how its values are read."""

    name: str
    head: str
    kind: str = "text"


class PageTable(NamedTuple):
    """A table on the page: its columns, and the column by which its first rows are chosen (None: as it stands).

    ``once``: of several names of a digest in a store only the one that reads best.
    """

    table: str
    title: str
    columns: tuple[PageColumn, ...]
    sort: str | None = None
    once: bool = False


class PageFigure(NamedTuple):
    """A figure on the page and what a reader who cannot see it should know.

    ``label`` and ``value`` are columns of the table behind it: the page adds its largest rows, and all rows of a plan.
    """

    name: str
    alt: str
    label: str = ""
    value: str = ""


class PageSection(NamedTuple):
    """A part of the page."""

    key: str
    title: str
    words: str
    pictures: tuple[PageFigure, ...] = ()
    tables: tuple[PageTable, ...] = ()
    history: bool = False


NODE, NAMESPACE = PageColumn("node", "node", "word"), PageColumn("namespace", "namespace", "word")
NAME, DIGEST = PageColumn("name", "image"), PageColumn("digest", "digest", "digest")

SECTIONS = (
    PageSection(
        "repositories",
        "By repository",
        "Unique bytes are needed by images of one repository only. Shared ones are divided between those that need them, so that "
        "the bars, and the column “its share”, add up to the disk. A record whose name gives no repository (the CRI makes one for "
        "each image) counts with the other names of its digest.",
        (
            PageFigure(
                "repositories", "Bars: unique and shared bytes by repository", "repository", "share_bytes"
            ),
            PageFigure(
                "treemap", "Rectangles: bytes by repository, shared ones divided", "repository", "share_bytes"
            ),
        ),
        (
            PageTable(
                "repositories",
                "Bytes by repository",
                (
                    PageColumn("repository", "repository", "repository"),
                    PageColumn("images", "images", "count"),
                    PageColumn("share_bytes", "its share", "bytes"),
                    PageColumn("unique_bytes", "unique", "bytes"),
                    PageColumn("shared_bytes", "shared", "bytes"),
                    PageColumn("reclaimable_bytes", "reclaimable", "bytes"),
                    PageColumn("logical_bytes", "logical", "bytes"),
                ),
                "share_bytes",
            ),
        ),
    ),
    PageSection(
        "growth",
        "Growth and forecast",
        "The six nodes nearest to their thresholds (85 % of the disk). The rate is that of the growth between prunes; its interval is "
        "90 %, and where it contains zero there is no trend and no date.",
        (PageFigure("growth", "Lines: bytes over time by node, with the way to the threshold"),),
        (
            PageTable(
                "forecast",
                "When each disk is full, if nothing is pruned",
                (
                    NODE,
                    PageColumn("used_bytes", "used", "bytes"),
                    PageColumn("disk_total", "disk", "bytes"),
                    PageColumn("bytes_per_day", "per day", "bytes"),
                    PageColumn("trend", "trend", "word"),
                    PageColumn("prunes", "prunes seen", "count"),
                    PageColumn("days_to_threshold", "days to 85 %", "days"),
                    PageColumn("days_to_full", "days to full", "days"),
                    PageColumn("days_to_full_low", "at the earliest", "days"),
                    PageColumn("days_to_full_high", "at the latest", "days"),
                ),
            ),
        ),
        history=True,
    ),
    PageSection(
        "reclaimable",
        "Reclaimable",
        "What disappears when every image is deleted that no container uses by name, digest or snapshots and nobody pinned: the "
        "garbage collector's marking replayed on the tables, exact to the byte. What these images share with images that stay "
        "is held.",
        (
            PageFigure(
                "waterfall",
                "Bars: bytes before, freed content and snapshots, held, and after",
                "step",
                "bytes",
            ),
        ),
        (
            PageTable(
                "reclaimable",
                "Unused images, by what each frees alone",
                (
                    NODE,
                    NAMESPACE,
                    NAME,
                    DIGEST,
                    PageColumn("created_at", "here since", "time"),
                    PageColumn("freed_alone_bytes", "frees alone", "bytes"),
                ),
            ),
            PageTable(
                "held",
                "Held: what they refer to and stays, by holder",
                (
                    NODE,
                    NAMESPACE,
                    PageColumn("holder_kind", "held by", "word"),
                    PageColumn("holder", "holder"),
                    PageColumn("things", "things", "count"),
                    PageColumn("held_bytes", "bytes", "bytes"),
                ),
            ),
            PageTable(
                "kept",
                "Unused by name, and kept all the same",
                (NODE, NAMESPACE, NAME, DIGEST, PageColumn("reason", "reason", "word")),
            ),
        ),
    ),
    PageSection(
        "orphans",
        "Orphans",
        "Bytes that neither an image nor a container holds, and what becomes of them.",
        (),
        (
            PageTable(
                "orphan_reasons",
                "By reason",
                (
                    PageColumn("reason", "reason", "word"),
                    PageColumn("things", "things", "count"),
                    PageColumn("orphan_bytes", "bytes", "bytes"),
                    PageColumn("oldest", "oldest", "time"),
                    PageColumn("action", "what becomes of it"),
                ),
            ),
            PageTable(
                "orphans",
                "The largest",
                (
                    NODE,
                    NAMESPACE,
                    PageColumn("kind", "kind", "word"),
                    PageColumn("key", "key", "digest"),
                    PageColumn("size", "bytes", "bytes"),
                    PageColumn("reason", "reason", "word"),
                    PageColumn("holder", "holder"),
                    PageColumn("created_at", "since", "time"),
                ),
                "size",
            ),
        ),
    ),
    PageSection(
        "nodes",
        "Nodes",
        "What each node's store holds: content is compressed, snapshots are unpacked.",
        (
            PageFigure(
                "nodes",
                "Heat map: bytes of content, of snapshots and reclaimable ones by node",
                "node",
                "snapshot_bytes",
            ),
        ),
        (
            PageTable(
                "nodes",
                "Nodes",
                (
                    NODE,
                    PageColumn("containerd_version", "containerd", "word"),
                    PageColumn("platform", "platform", "word"),
                    PageColumn("images", "images", "count"),
                    PageColumn("content_bytes", "content", "bytes"),
                    PageColumn("snapshot_bytes", "snapshots", "bytes"),
                    PageColumn("reclaimable_bytes", "reclaimable", "bytes"),
                    PageColumn("disk_total", "disk", "bytes"),
                    PageColumn("disk_free", "free", "bytes"),
                    PageColumn("collected_at", "read at", "time"),
                    PageColumn("status", "status", "word"),
                ),
                "snapshot_bytes",
            ),
        ),
    ),
    PageSection(
        "duplicates",
        "Copies across nodes",
        "Content that lies on more than one node. Copies are no waste where every node runs the image; they are what a local "
        "mirror or a shared base would save in pulls.",
        (
            PageFigure(
                "duplicates",
                "Bars: bytes of the first and of all further copies by repository",
                "repository",
                "duplicate_bytes",
            ),
        ),
        (
            PageTable(
                "duplicates",
                "Copies by repository",
                (
                    PageColumn("repository", "repository", "repository"),
                    PageColumn("copies", "nodes", "count"),
                    PageColumn("one_bytes", "one copy", "bytes"),
                    PageColumn("duplicate_bytes", "further copies", "bytes"),
                ),
            ),
        ),
    ),
    PageSection(
        "age",
        "Age against size",
        "Each point is an image record: how long it has been on its node, and the bytes that no other image there needs. Large, "
        "old and not in use, to the upper right, is what to look at first.",
        (PageFigure("age", "Points: age and unique size of every image record, those in use apart"),),
        (
            PageTable(
                "images",
                "The largest alone, one row for all names of a digest",
                (
                    NODE,
                    NAMESPACE,
                    NAME,
                    PageColumn("created_at", "here since", "time"),
                    PageColumn("built_at", "built", "time"),
                    PageColumn("unique_size", "alone", "bytes"),
                    PageColumn("shared_size", "shared", "bytes"),
                    PageColumn("containers", "containers", "count"),
                    PageColumn("pinned", "pinned", "flag"),
                ),
                "unique_size",
                once=True,
            ),
        ),
    ),
    PageSection(
        "layer_sharing",
        "Layer sharing",
        "Bytes that pairs of images have in common, in the namespace whose images share the most.",
        (PageFigure("layer_sharing", "Heat map: bytes that pairs of images share"),),
        (
            PageTable(
                "layer_sharing",
                "Pairs that share the most",
                (
                    PageColumn("image", "image"),
                    PageColumn("other_image", "and"),
                    PageColumn("shared_bytes", "share", "bytes"),
                ),
            ),
        ),
    ),
    PageSection(
        "changes",
        "What changed",
        "From each collection to the next: what came upward, what went downward.",
        (PageFigure("changes", "Bars: changes of images by day and kind"),),
        (
            PageTable(
                "changes",
                "The newest changes",
                (
                    PageColumn("collected_at", "seen at", "time"),
                    NODE,
                    NAMESPACE,
                    NAME,
                    PageColumn("change", "change", "word"),
                    PageColumn("content_delta", "content", "bytes"),
                    PageColumn("unpacked_delta", "unpacked", "bytes"),
                ),
                "collected_at",
            ),
            PageTable(
                "last_used",
                "Longest not seen in use",
                (
                    NODE,
                    NAMESPACE,
                    NAME,
                    PageColumn("first_seen", "first seen", "time"),
                    PageColumn("last_seen", "last seen", "time"),
                    PageColumn("last_used", "last in use", "time"),
                    PageColumn("observations", "collections", "count"),
                    PageColumn("not_observed_before", "not observed before", "time"),
                ),
            ),
        ),
        history=True,
    ),
    PageSection(
        "errors",
        "Errors",
        "What could not be read; it is in none of the numbers above.",
        (),
        (
            PageTable(
                "errors",
                "Failures",
                (
                    NODE,
                    NAMESPACE,
                    PageColumn("stage", "stage", "word"),
                    PageColumn("subject", "subject"),
                    PageColumn("code", "code", "word"),
                    PageColumn("message", "message"),
                ),
            ),
        ),
    ),
)
