"""Folders that are replaced as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgframe.errors import InputError


def replaceable(path: str | os.PathLike[str], mark: str, kind: str) -> Path:
    """The folder ``path``, if it does not exist, is empty, or is an older one of this ``kind``.

    Raises:
        InputError: ``path`` exists and is none of these.
    """
    target = Path(path)
    if target.exists() and not (target / mark).exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{str(path)!r} exists and is not {kind}; give a new or empty folder")
    return target


@contextmanager
def replaced(path: str | os.PathLike[str], mark: str, kind: str) -> Iterator[Path]:
    """A new folder to write into; it takes the place of ``path`` at the end, unless writing fails.

    ``mark`` is the file that identifies an older folder of the same ``kind``; nothing else is replaced.

    Raises:
        InputError: ``path`` exists and is none of these.
    """
    target = replaceable(path, mark, kind)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield fresh
        for file in fresh.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        fresh.chmod(0o755)
        _swap(fresh, target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _swap(fresh: Path, target: Path) -> None:
    """Put ``fresh`` in the place of ``target``; the old folder is removed only once the new one is in place."""
    if not target.exists():
        fresh.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent)) / "old"
    target.rename(old)
    try:
        fresh.rename(target)
    except BaseException:
        old.rename(target)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)
