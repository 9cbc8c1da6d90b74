"""The explorer widget: traits that hold the state, and what follows from a change of each."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import traitlets

from imgframe.errors import ImgframeError
from imgframe.explorer import chart_images, table_rows
from imgframe.explorer.debounce import Debounced
from imgframe.explorer.fallback import plain_html, plain_text
from imgframe.explorer.image_table import ImageTable
from imgframe.explorer.positions import Positions
from imgframe.explorer.repository_paths import RepositoryPaths
from imgframe.explorer.repository_tree import RepositoryTree
from imgframe.explorer.selection_summary import SelectionSummary, summarize
from imgframe.inventory import human_bytes
from imgframe.plans import Plan, prune

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory
    from imgframe.reclaiming import Reclaim

_PAUSE = 0.3
"""Seconds without a key press after which the charts are redrawn."""


class Explorer(ipywidgets.VBox):
    """The images of an inventory to filter, inspect and select; made by :func:`imgframe.explore`.

    Traits to set, in code or in the widget: ``filter`` (the value of nerdctl's ``--filter``; commas separate several),
    ``command`` (``images``, ``image prune`` or ``image prune --all``: the command that interprets the filter), ``repository`` (a
    path of the tree, empty for all), ``selected`` (positions in ``inventory.images``, whether shown or not), ``theme``.

    Traits to read: ``error`` (why the filter is invalid, in nerdctl's words; the rows of the last valid filter stay), ``notes``
    (what the filter does not do although it seems to), ``plan`` (made by the button; None again when the selection changes).

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> here = {"node": ["a"], "namespace": ["default"]}
        >>> inv = imf.Inventory({"images": schema.table("images", {**here, "name": ["app:1"], "digest": ["sha256:aa"]})})
        >>> explorer = imf.explore(inv)
        >>> explorer.selected = [0]
        >>> explorer.selection["name"].tolist()
        ['app:1']
    """

    filter = traitlets.Unicode("")
    command = traitlets.Enum(table_rows.COMMANDS, table_rows.COMMANDS[0])
    repository = traitlets.Unicode("")
    selected: Any = Positions()
    theme = traitlets.Enum(("light", "dark"), "light")
    error = traitlets.Unicode("", read_only=True)
    notes = traitlets.Tuple(read_only=True)
    plan = traitlets.Instance(Plan, allow_none=True, read_only=True)

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self._tree = RepositoryPaths(inventory)
        self._matched = np.array([], np.int64)
        self._shown = self._matched
        self._summary = summarize(inventory, self._matched)
        self._charts = Debounced(self._draw, _PAUSE)
        self._make_parts()
        super().__init__(self._laid_out())
        self.add_class("imgframe-explorer")
        self._connect()
        self._match()
        self._say_freed()

    # ---- results, for the next cell

    @property
    def images(self) -> pd.DataFrame:
        """The rows of ``inventory.images`` that match the filter and the repository, in the order of the table."""
        return self.inventory.images.iloc[self._shown]

    @property
    def selection(self) -> pd.DataFrame:
        """The selected rows of ``inventory.images``, including those that the filter hides."""
        return self.inventory.images.iloc[list(self.selected)]

    @property
    def freed(self) -> Reclaim:
        """What disappears when the whole selection is deleted: :func:`imgframe.reclaim` of it."""
        return self._summary.whole

    @property
    def summary(self) -> SelectionSummary:
        """The numbers behind the line on the selection."""
        return self._summary

    def make_plan(self) -> Plan:
        """:func:`imgframe.prune` of the selection, which also becomes ``plan``; the button calls this."""
        made = prune(self.selection, self.inventory)
        self.set_trait("plan", made)
        return made

    # ---- traits

    @traitlets.validate("repository")  # type: ignore[untyped-decorator]  # traitlets is read without its types
    def _known_path(self, proposal: Any) -> str:
        if self._tree.find(proposal.value) is None:
            raise traitlets.TraitError(
                f"there is no repository or registry {proposal.value!r} in this inventory"
            )
        return str(proposal.value)

    # ---- parts

    def _make_parts(self) -> None:
        """Create the widgets, still empty."""
        self._command = ipywidgets.Dropdown(
            options=[(f"nerdctl {command}", command) for command in table_rows.COMMANDS],
            layout=_layout(flex="0 1 220px", width="auto"),
            tooltip="the command that interprets the filter",
        )
        self._box = ipywidgets.Text(
            placeholder="--filter, as in label=team=web,reference=^docker.io/",
            layout=_layout(flex="1 1 280px", width="auto"),
            tooltip="nerdctl's --filter",
        )
        self._message = ipywidgets.HTML(layout=_layout(margin="0"))
        columns = [column._asdict() for column in table_rows.columns_of(self.inventory)]
        self._table = ImageTable(self._asked, columns=columns, layout=_layout(flex="5 1 520px"))
        self._branches = RepositoryTree(
            labels=self._tree.labels, parents=self._tree.parents, layout=_layout(flex="1 1 200px")
        )
        self._line = ipywidgets.HTML(layout=_layout(margin="0"))
        self._button = ipywidgets.Button(
            description="Make a plan",
            icon="check",
            tooltip="Create explorer.plan; nothing is deleted",
            disabled=True,
        )
        self._plan_line = ipywidgets.HTML(layout=_layout(margin="0", flex="1 1 300px"))
        self._pictures = [
            ipywidgets.Image(format="png", layout=_layout(flex="1 1 320px", max_width="760px"))
            for _ in range(2)
        ]

    def _laid_out(self) -> list[ipywidgets.Widget]:
        """The widgets in their rows, which wrap on narrow screens."""

        def row(*parts: ipywidgets.Widget, **layout: str) -> ipywidgets.Box:
            box = ipywidgets.Box(
                parts, layout=ipywidgets.Layout(display="flex", flex_flow="row wrap", width="100%", **layout)
            )
            return box.add_class("imgframe-row")

        return [
            row(self._command, self._box),
            self._message,
            row(self._branches, self._table, align_items="stretch"),
            self._line,
            row(self._button, self._plan_line, align_items="center"),
            row(*self._pictures),
        ]

    def _connect(self) -> None:
        """Connect the traits and events of the widgets."""
        traitlets.link((self, "filter"), (self._box, "value"))
        traitlets.link((self, "command"), (self._command, "value"))
        traitlets.link((self, "theme"), (self._table, "theme"))
        self.observe(lambda _: self._match(), ["filter", "command"])
        self.observe(lambda _: self._show(), "repository")
        self.observe(lambda _: self._select(), "selected")
        self.observe(lambda _: self._charts.soon(), "theme")
        self._table.observe(lambda _: self._charts.soon(), "shown")
        self.observe(lambda _: self._say_planned(), "plan")
        self._branches.observe(
            lambda change: self.set_trait("repository", self._tree.paths[change.new]), "chosen"
        )
        self._table.observe(lambda _: self._reorder(), ["sort", "descending"])
        self._table.observe(lambda _: self._turn(), ["page", "page_size"])
        self._button.on_click(lambda _: self._press())

    # ---- what follows from a change

    def _match(self) -> None:
        """Apply a changed filter or command."""
        try:
            self._matched = table_rows.matching(self.inventory, self.filter, self.command)
        except ImgframeError as error:
            self.set_trait("error", str(error))
            self.set_trait("notes", ())
        else:
            self.set_trait("error", "")
            self.set_trait("notes", table_rows.warnings_of(self.filter, self.command))
            self._branches.counts = self._tree.counts(self._matched).tolist()
            self._show()
        self._say_filter()

    def _show(self) -> None:
        """Show other rows, from the first page."""
        node = self._tree.find(self.repository) or 0
        self._branches.chosen = node
        self._shown = self._tree.below(self._matched, node)
        with self._table.hold_sync():
            self._table.total = len(self._shown)
            self._reorder()
        self._charts.soon()

    def _reorder(self) -> None:
        """Show the rows in the order chosen in the table, from the first page."""
        table = self._table
        with table.hold_sync():
            table.page = 0
            self._shown = table_rows.ordered(
                self.inventory, self._shown, table.sort, descending=table.descending
            )
            self._turn()

    def _turn(self) -> None:
        """Show the rows of the page."""
        table = self._table
        start = table.page * table.page_size
        positions = self._shown[start : start + table.page_size]
        with table.hold_sync():
            table.rows = table_rows.cells(self.inventory, positions, table_rows.columns_of(self.inventory))
            self._mark()

    def _mark(self) -> None:
        """Set the check boxes of the page, and the number of selected rows."""
        chosen = np.array(self.selected, np.int64)
        flags = np.zeros(self.inventory.arrow("images").num_rows, bool)
        flags[chosen] = True
        here = [row["position"] for row in self._table.rows]
        self._table.checked = [position for position in here if flags[position]]
        self._table.selected = len(chosen)
        self._table.elsewhere = len(chosen) - int(flags[self._shown].sum())

    def _select(self) -> None:
        """Apply a changed selection, which discards the plan."""
        with self._table.hold_sync():
            self._mark()
        self._button.disabled = not self.selected
        void = self.plan is not None
        self.set_trait("plan", None)
        if void:
            self._plan_line.value = _html("note", "The selection changed: explorer.plan is None again.")
        self._summary = summarize(self.inventory, np.array(self.selected, np.int64))
        self._say_freed()

    def _asked(self, kind: str, positions: list[int]) -> None:
        """Handle a check box or a button of the table."""
        if kind == "none":
            self.selected = ()
        elif kind == "uncheck":
            self.selected = tuple(np.setdiff1d(self.selected, positions).astype(np.int64))
        else:
            more = self._shown if kind == "all" else np.array(positions, np.int64)
            self.selected = tuple(np.union1d(np.array(self.selected, np.int64), more))

    def _press(self) -> None:
        """Make a plan; errors appear beside the button, because a callback has no cell to raise into."""
        self._plan_line.value = _html("note", "Making the plan …")
        try:
            self.make_plan()
        except ImgframeError as error:
            self._plan_line.value = _html("error", f"No plan: {error}")

    # ---- sentences and pictures

    def _say_filter(self) -> None:
        if self.error:
            self._message.value = _html("error", f"{self.error} (showing the rows of the last valid filter)")
        else:
            self._message.value = "".join(_html("note", note) for note in self.notes)

    def _say_freed(self) -> None:
        first, *more = self._summary.sentences()
        self._line.value = f'<div class="imgframe-freed" role="status"><strong>{escape(first)}</strong> {escape(" ".join(more))}</div>'

    def _say_planned(self) -> None:
        if self.plan is None:
            self._plan_line.value = ""
            return
        steps, kept, freed = self.plan.table.num_rows, self.plan.kept_table.num_rows, self.plan.freed
        total = 0 if freed is None else freed.total_bytes
        sure = "at most" if freed is not None and freed.arrow("unread").num_rows else "exactly"
        self._plan_line.value = _html(
            "note",
            f"explorer.plan deletes {steps:,} image{'' if steps == 1 else 's'}, keeps {kept:,} and frees {sure} "
            f"{human_bytes(total)} ({total:,} bytes). Nothing has been deleted yet: review it in the next cell.",
        )

    def _draw(self) -> None:
        """Draw both charts of the rows shown, if a front end shows the explorer."""
        if not self._table.shown:
            return
        images = self.images
        for picture, draw in zip(self._pictures, (chart_images.repositories, chart_images.ages), strict=True):
            picture.value = draw(images, self.theme)

    # ---- without widgets

    def __repr__(self) -> str:
        return f"<Explorer: {len(self._shown):,} of {self.inventory.arrow('images').num_rows:,} images, {len(self.selected):,} selected>"

    def _repr_html_(self) -> str:
        return plain_html(self.images)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**(bundle or {}), "text/plain": plain_text(self.images), "text/html": plain_html(self.images)}


def _layout(**given: str) -> ipywidgets.Layout:
    """A layout that may shrink below the width of its content."""
    return ipywidgets.Layout(min_width="0", **given)


def _html(kind: str, text: str) -> str:
    """A paragraph; ``text`` is escaped."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="imgframe-{kind}" role="{role}">{escape(text)}</div>'
