"""Documents read as files from a content store on this machine.

This is ten times faster than asking containerd, but bypasses it and needs permission to read its folder; so it is done only
with ``IMGFRAME_READ_FILES=1``. Only documents that the namespace lists are read, and their digests are verified.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_DIGEST = re.compile(r"([a-z0-9]+):([0-9a-f]{32,128})")


def is_store(root: str, uuid: str) -> bool:
    """Whether the folder ``root`` of this machine is that of the store ``uuid``, and may be read.

    A forwarded socket leads to another machine, which may have a folder of the same name but with another UUID.
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
    """Size of the file system of ``root`` and its available space [bytes]."""
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
    # for thousands of small files, a Path or a large buffer costs as much as reading
    with open(f"{content_root}/blobs/{parts[1]}/{parts[2]}", "rb", buffering=0) as file:  # noqa: PTH123 -- see above
        if os.fstat(file.fileno()).st_size > limit:
            return file.read(limit + 1)
        return file.readall()
