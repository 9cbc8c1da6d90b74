"""The table widget, which shows one page of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class ImageTable(anywidget.AnyWidget):
    """A page of a long table with check boxes; selection and order are kept in Python, the front end only shows them.

    ``rows`` are those of :func:`imgframe.explorer.table_rows.cells` for ``page`` (from 0) of ``total`` rows; ``checked`` are the
    positions of the page that are selected, of ``selected`` in all. ``sort`` and ``descending`` are set by the headings.
    ``shown``: a front end shows the table. ``theme``: that of the notebook. The front end requests changes of the selection by
    messages (``check`` and ``uncheck`` with positions, ``all``, ``none``); ``on_request`` is called with valid ones.
    """

    _esm = _HERE / "image_table.js"
    _css = _HERE / "explorer.css"

    columns = traitlets.List(traitlets.Dict()).tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    checked = traitlets.List(traitlets.Int()).tag(sync=True)
    total = traitlets.Int(0, min=0).tag(sync=True)
    selected = traitlets.Int(0, min=0).tag(sync=True)
    elsewhere = traitlets.Int(0, min=0, help="selected rows that the filter hides").tag(sync=True)
    page = traitlets.Int(0).tag(sync=True)
    page_size = traitlets.Int(50, min=1, max=500).tag(sync=True)
    sort = traitlets.Unicode("created_at").tag(sync=True)
    descending = traitlets.Bool(True).tag(sync=True)
    shown = traitlets.Bool(False).tag(sync=True)
    theme = traitlets.Enum(("light", "dark"), "light").tag(sync=True)

    def __init__(self, on_request: Callable[[str, list[int]], None], **traits: Any) -> None:
        self._on_request = on_request
        super().__init__(**traits)
        self.on_msg(self._receive)

    @property
    def pages(self) -> int:
        """The number of pages; an empty table has one."""
        return max(1, -(-self.total // self.page_size))

    @traitlets.validate("page")  # type: ignore[untyped-decorator]  # traitlets is read without its types
    def _valid_page(self, proposal: Any) -> int:
        return min(max(proposal.value, 0), self.pages - 1)

    @traitlets.validate("sort")  # type: ignore[untyped-decorator]  # traitlets is read without its types
    def _valid_column(self, proposal: Any) -> str:
        if proposal.value not in {column["name"] for column in self.columns}:
            raise traitlets.TraitError(f"there is no column {proposal.value!r} to sort by")
        return str(proposal.value)

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Handle a message of the front end; unknown ones are ignored."""
        if not isinstance(content, dict):
            return
        kind, positions = content.get("kind"), content.get("positions", [])
        whole = isinstance(positions, list) and all(type(each) is int for each in positions)
        if kind in {"check", "uncheck", "all", "none"} and whole:
            self._on_request(kind, positions)
