"""The table widget: one page of rows, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class ImageTable(anywidget.AnyWidget):
    """A page of a long table with check boxes; what is chosen and sorted is kept here, the front end only shows it.

    ``rows`` are those of :func:`imgframe.explorer.table_rows.cells` for ``page`` (from 0) of ``total`` rows; ``checked`` are the
    positions of the page that are selected, of ``selected`` in all. ``sort`` and ``descending`` come from the headings.
    ``shown`` says that a front end shows the table, ``theme`` what it found the notebook to be in. The front end asks for changes of the selection by message:
    ``check`` with positions, ``all`` and ``none``; ``on_request`` hears them once they are valid.
    """

    _esm = _HERE / "image_table.js"
    _css = _HERE / "explorer.css"

    columns = traitlets.List(traitlets.Dict()).tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    checked = traitlets.List(traitlets.Int()).tag(sync=True)
    total = traitlets.Int(0, min=0).tag(sync=True)
    selected = traitlets.Int(0, min=0).tag(sync=True)
    elsewhere = traitlets.Int(0, min=0, help="selected rows that the filter does not show").tag(sync=True)
    page = traitlets.Int(0).tag(sync=True)
    page_size = traitlets.Int(50, min=1, max=500).tag(sync=True)
    sort = traitlets.Unicode("created_at").tag(sync=True)
    descending = traitlets.Bool(True).tag(sync=True)
    shown = traitlets.Bool(False).tag(sync=True)
    theme = traitlets.Enum(("light", "dark"), "light").tag(sync=True)

    def __init__(self, on_request: Callable[[str, list[int]], None], **traits: Any) -> None:
        self._on_request = on_request
        super().__init__(**traits)
        self.on_msg(self._hear)

    @property
    def pages(self) -> int:
        """How many pages there are; an empty table has one."""
        return max(1, -(-self.total // self.page_size))

    @traitlets.validate("page")  # type: ignore[untyped-decorator]  # traitlets is read without its types
    def _in_range(self, proposal: Any) -> int:
        return min(max(proposal.value, 0), self.pages - 1)

    @traitlets.validate("sort")  # type: ignore[untyped-decorator]  # traitlets is read without its types
    def _a_column(self, proposal: Any) -> str:
        if proposal.value not in {column["name"] for column in self.columns}:
            raise traitlets.TraitError(f"there is no column {proposal.value!r} to sort by")
        return str(proposal.value)

    def _hear(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """A message of the front end; what is not one of ours is dropped."""
        if not isinstance(content, dict):
            return
        kind, positions = content.get("kind"), content.get("positions", [])
        whole = isinstance(positions, list) and all(type(each) is int for each in positions)
        if kind in {"check", "uncheck", "all", "none"} and whole:
            self._on_request(kind, positions)
