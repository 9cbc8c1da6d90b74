"""Runs the text twins in notebooks/ on the simulator and writes the notebooks with their outputs: ``make notebooks``.

With names of notebooks as arguments only these. Outputs are the same on every machine, but for ids of plans and times.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = Path(__file__).parent.parent / "notebooks"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def run(notebook: nbformat.NotebookNode, timeout: int = 300) -> nbformat.NotebookNode:
    """Execute all cells in the folder of the notebooks; a cell that fails raises.

    The kernel is reached by sockets in a folder of its own: ports of TCP are chosen before they are bound, and others take them.
    """
    notebook.metadata["kernelspec"] = dict(KERNEL)
    with tempfile.TemporaryDirectory(prefix="k-") as folder:  # a socket's path may have 107 characters
        sockets = {"transport": "ipc", "connection_file": f"{folder}/k.json"}
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(FOLDER)}},
            config=Config({"KernelManager": sockets}),
        )
        return client.execute()


def read(twin: Path) -> nbformat.NotebookNode:
    """The notebook of a text twin, without outputs; its cells are numbered, so that no run changes their ids."""
    notebook = jupytext.read(twin)
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place}"
    return notebook


def main(names: list[str]) -> None:
    """Write the notebooks of the twins, or of those named."""
    os.environ.pop("IMGFRAME_NODE", None)
    twins = sorted(FOLDER.glob("[0-9]*.py"))
    for twin in [twin for twin in twins if not names or any(twin.stem.startswith(name) for name in names)]:
        notebook = run(read(twin))
        notebook.metadata = {"kernelspec": dict(KERNEL), "jupytext": {"formats": "ipynb,py:percent"}}
        nbformat.write(notebook, twin.with_suffix(".ipynb"))
        print(twin.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main(sys.argv[1:])
