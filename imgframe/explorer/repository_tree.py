"""The tree widget: the repositories, with the number of matching records in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class RepositoryTree(anywidget.AnyWidget):
    """A tree with one chosen node; ``labels``, ``parents`` and ``counts`` have one entry per node.

    Node 0 is the root (everything); a parent comes before its children.
    """

    _esm = _HERE / "repository_tree.js"

    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    parents = traitlets.List(traitlets.Int()).tag(sync=True)
    counts = traitlets.List(traitlets.Int()).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)

    @traitlets.validate("chosen")  # type: ignore[untyped-decorator]  # traitlets is read without its types
    def _valid_node(self, proposal: Any) -> int:
        if not 0 <= proposal.value < max(len(self.labels), 1):
            raise traitlets.TraitError(f"the tree has no node {proposal.value}")
        return int(proposal.value)
