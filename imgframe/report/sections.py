"""The content of the page, in order: sections with their text, figures and tables."""

from __future__ import annotations

from typing import NamedTuple


class PageColumn(NamedTuple):
    """A column of a table on the page: its name, its heading, and how its values are formatted."""

    name: str
    head: str
    kind: str = "text"


class PageTable(NamedTuple):
    """A table on the page: its columns, and the column by which its first rows are chosen (None: in their order).

    ``given``: the columns separated by ``;``, with their headings after ``=`` where these differ from the name.
    ``once``: of several names of a digest in a store only the one that reads best.
    """

    table: str
    title: str
    given: str
    sort: str | None = None
    once: bool = False

    @property
    def columns(self) -> tuple[PageColumn, ...]:
        """The columns with their headings and kinds.

        Example:
            >>> PageTable("nodes", "Nodes", "node; used_bytes=used").columns
            (PageColumn(name='node', head='node', kind='word'), PageColumn(name='used_bytes', head='used', kind='bytes'))
        """
        pairs = (part.strip().partition("=") for part in self.given.split(";"))
        return tuple(PageColumn(name, head or name, _KIND.get(name, "text")) for name, _, head in pairs)


class PageFigure(NamedTuple):
    """A figure on the page and its alternative text.

    ``label`` and ``value`` are columns of the table behind it: the page adds its largest rows, and all rows of a plan.
    """

    name: str
    alt: str
    label: str = ""
    value: str = ""


class PageSection(NamedTuple):
    """A section of the page; ``history``: it needs a dataset."""

    key: str
    title: str
    text: str
    figures: tuple[PageFigure, ...] = ()
    tables: tuple[PageTable, ...] = ()
    history: bool = False


_KINDS = {
    "bytes": "share_bytes unique_bytes shared_bytes reclaimable_bytes logical_bytes used_bytes disk_total disk_free "
    "bytes_per_day freed_alone_bytes held_bytes orphan_bytes size content_bytes snapshot_bytes one_bytes duplicate_bytes "
    "unique_size shared_size content_delta unpacked_delta",
    "count": "images prunes things copies containers observations",
    "days": "days_to_threshold days_to_full days_to_full_low days_to_full_high",
    "time": "created_at built_at collected_at oldest first_seen last_seen last_used not_observed_before",
    "word": "node namespace trend holder_kind reason kind containerd_version platform status change stage code",
    "digest": "digest key",
    "flag": "pinned",
    "repository": "repository",
}
"""The columns that are formatted in each way; all others are text."""

_KIND = {name: kind for kind, names in _KINDS.items() for name in names.split()}


SECTIONS = (
    PageSection(
        "repositories",
        "By repository",
        "Unique bytes are needed by images of one repository only. Shared bytes are divided equally between the repositories that "
        "need them, so the bars, and the column “its share”, add up to the disk. A record whose name has no repository (the CRI "
        "creates one for each image) is counted with the other names of its digest.",
        (
            PageFigure(
                "repositories", "Bars: unique and shared bytes by repository", "repository", "share_bytes"
            ),
            PageFigure(
                "treemap", "Treemap: bytes by repository, shared ones divided", "repository", "share_bytes"
            ),
        ),
        (
            PageTable(
                "repositories",
                "Bytes by repository",
                "repository; images; share_bytes=its share; unique_bytes=unique; shared_bytes=shared; "
                "reclaimable_bytes=reclaimable; logical_bytes=logical",
                "share_bytes",
            ),
        ),
    ),
    PageSection(
        "growth",
        "Growth and forecast",
        "The six nodes closest to their thresholds (85 % of the disk). The rate is the growth between prunes, with a 90 % interval; "
        "if the interval contains zero, there is no trend and no date.",
        (PageFigure("growth", "Lines: bytes over time by node, with the forecast up to the threshold"),),
        (
            PageTable(
                "forecast",
                "When each disk is full, if nothing is pruned",
                "node; used_bytes=used; disk_total=disk; bytes_per_day=per day; trend; prunes=prunes seen; "
                "days_to_threshold=days to 85 %; days_to_full=days to full; days_to_full_low=at the earliest; "
                "days_to_full_high=at the latest",
            ),
        ),
        history=True,
    ),
    PageSection(
        "reclaimable",
        "Reclaimable",
        "What disappears when every image is deleted that is not pinned and that no container uses by name, digest or snapshot: "
        "containerd's garbage collection replayed on the collected tables, exact to the byte. Bytes that these images share with "
        "images that stay are held.",
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
                "node; namespace; name=image; digest; created_at=here since; freed_alone_bytes=frees alone",
            ),
            PageTable(
                "held",
                "Held: what they refer to that stays, by holder",
                "node; namespace; holder_kind=held by; holder; things=objects; held_bytes=bytes",
            ),
            PageTable("kept", "Unused by name, but kept", "node; namespace; name=image; digest; reason"),
        ),
    ),
    PageSection(
        "orphans",
        "Orphans",
        "Bytes that neither an image nor a container holds, and what removes them.",
        (),
        (
            PageTable(
                "orphan_reasons",
                "By reason",
                "reason; things=objects; orphan_bytes=bytes; oldest; action=what removes them",
            ),
            PageTable(
                "orphans",
                "The largest",
                "node; namespace; kind; key; size=bytes; reason; holder; created_at=since",
                "size",
            ),
        ),
    ),
    PageSection(
        "nodes",
        "Nodes",
        "What the store of each node holds: content is compressed, snapshots are unpacked.",
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
                "node; containerd_version=containerd; platform; images; content_bytes=content; snapshot_bytes=snapshots; "
                "reclaimable_bytes=reclaimable; disk_total=disk; disk_free=free; collected_at=read at; status",
                "snapshot_bytes",
            ),
        ),
    ),
    PageSection(
        "duplicates",
        "Copies across nodes",
        "Content that is on more than one node. Copies are not waste where every node runs the image; they show what a local "
        "mirror or a shared base image would save in pulls.",
        (
            PageFigure(
                "duplicates",
                "Bars: bytes of the first copy and of all further copies by repository",
                "repository",
                "duplicate_bytes",
            ),
        ),
        (
            PageTable(
                "duplicates",
                "Copies by repository",
                "repository; copies=nodes; one_bytes=one copy; duplicate_bytes=further copies",
            ),
        ),
    ),
    PageSection(
        "age",
        "Age and size",
        "Each point is an image record: how long it has been on its node, and the bytes that no other image there needs. Start at "
        "the upper right: large, old and not in use.",
        (PageFigure("age", "Points: age and unique size of every image record, those in use set apart"),),
        (
            PageTable(
                "images",
                "The largest by unique size, one row for all names of a digest",
                "node; namespace; name=image; created_at=here since; built_at=built; unique_size=unique; shared_size=shared; "
                "containers; pinned",
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
                "layer_sharing", "Pairs that share the most", "image; other_image=and; shared_bytes=share"
            ),
        ),
    ),
    PageSection(
        "changes",
        "What changed",
        "From each collection to the next: additions point up, removals point down.",
        (PageFigure("changes", "Bars: changes of images by day and kind"),),
        (
            PageTable(
                "changes",
                "The latest changes",
                "collected_at=seen at; node; namespace; name=image; change; content_delta=content; unpacked_delta=unpacked",
                "collected_at",
            ),
            PageTable(
                "last_used",
                "Longest not seen in use",
                "node; namespace; name=image; first_seen=first seen; last_seen=last seen; last_used=last in use; "
                "observations=collections; not_observed_before=observed since",
            ),
        ),
        history=True,
    ),
    PageSection(
        "errors",
        "Errors",
        "What could not be read; it is in none of the numbers above.",
        (),
        (PageTable("errors", "Failures", "node; namespace; stage; subject; code; message"),),
    ),
)
