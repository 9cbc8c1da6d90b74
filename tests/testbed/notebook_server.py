"""A real JupyterLab on a free port of loopback, with a token and nothing of the user's configuration."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Self

import nbformat

START_SECONDS = 240.0


class Lab:
    """A context manager: a running JupyterLab whose files lie in ``folder / "work"``; ``url(name)`` opens a notebook."""

    def __init__(self, folder: Path, *, theme: str = "JupyterLab Light") -> None:
        self.folder, self.theme = folder, theme
        self.work = folder / "work"
        self.token = secrets.token_hex(16)
        self.log: list[str] = []
        self.port: int | None = None
        self._up = threading.Event()

    def write(self, name: str, *cells: str) -> None:
        """Put a notebook of code cells into the work folder."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        self.work.mkdir(parents=True, exist_ok=True)
        nbformat.write(book, self.work / name)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/doc/tree/{name}?token={self.token}"

    def __enter__(self) -> Self:
        self.work.mkdir(parents=True, exist_ok=True)
        self._settings("notification", {"checkForUpdates": False, "fetchNews": "false"})
        self._settings("themes", {"theme": self.theme})
        self._sockets = tempfile.TemporaryDirectory(prefix="l-")  # a socket's path may have 107 characters
        own = {f"JUPYTER_{kind}_DIR": str(self.folder / kind.lower()) for kind in ("CONFIG", "DATA")}
        own["JUPYTER_RUNTIME_DIR"] = self._sockets.name
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"),
                *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"),
                *(f"--ServerApp.root_dir={self.work}", f"--IdentityProvider.token={self.token}"),
                *(
                    f"--LabApp.user_settings_dir={self.folder / 'settings'}",
                    "--LabApp.extension_manager=readonly",
                ),
                f"--LabApp.workspaces_dir={self.folder / 'workspaces'}",
                "--KernelManager.transport=ipc",  # a port would be chosen before it is bound
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | own | {"IPYTHONDIR": str(self.folder / "ipython"), "NO_PROXY": "127.0.0.1"},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._up.wait(START_SECONDS) or self.port is None:
            self.__exit__()
            raise AssertionError("JupyterLab did not start:\n" + "".join(self.log[-30:]))
        return self

    def _settings(self, plugin: str, values: dict[str, object]) -> None:
        folder = self.folder / "settings" / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{plugin}.jupyterlab-settings").write_text(json.dumps(values))

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if self.port is None and (found := re.search(r"http://127\.0\.0\.1:(\d+)/", line)):
                self.port = int(found[1])
                self._up.set()
        self._up.set()

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # the server ends its kernels
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._sockets.cleanup()
