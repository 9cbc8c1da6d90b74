"""Documents read as files, where the content store of a node is a folder of this very machine.

Ten times faster than asking containerd, and only on demand (``IMGFRAME_READ_FILES=1``): it needs the right to read
containerd's folder, and skips containerd. What is read is what the namespace lists, and is hashed like everything else.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from imgframe.wire.records import Layout

_DIGEST = re.compile(r"([a-z0-9]+):([0-9a-f]{32,128})")


def is_local(layout: Layout, uuid: str) -> bool:
    """Whether containerd's root folder is on this machine and of this very store, and may be read."""
    return is_store(layout.root, uuid)


def is_store(root: str, uuid: str) -> bool:
    """Whether the folder ``root`` of this machine is that of the store called ``uuid``, and may be read.

    A forwarded socket leads to another machine that may have a folder of the same name: the uuid in it tells them apart.
    """
    if not root or not uuid:
        return False
    folder = Path(root)
    for plugin in ("io.containerd.grpc.v1.introspection", "io.containerd.service.v1.introspection-service"):
        try:
            if (folder / plugin / "uuid").read_text().strip() == uuid:
                return True
        except (OSError, UnicodeDecodeError):
            continue
    return False


def disk(root: str) -> tuple[int | None, int | None]:
    """Size of the file system of ``root`` and what containerd may still write there [bytes]."""
    try:
        status = os.statvfs(root)
    except OSError:
        return None, None
    return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


def read_blob(content_root: str, digest: str, limit: int) -> bytes:
    """The bytes of a blob, at most ``limit`` + 1.

    Raises:
        OSError: there is no such file, or it may not be read.
    """
    parts = _DIGEST.fullmatch(digest)
    if parts is None:
        raise FileNotFoundError(digest)
    # thousands of small files: a Path costs as much as reading one does, and so does a buffer for the largest
    with open(f"{content_root}/blobs/{parts[1]}/{parts[2]}", "rb", buffering=0) as file:  # noqa: PTH123 -- see above
        if os.fstat(file.fileno()).st_size > limit:
            return file.read(limit + 1)
        return file.readall()
