"""Layer archives: their diff ID, and the bytes and inodes of the unpacked files."""

from __future__ import annotations

import io
import tarfile
import zlib
from typing import NamedTuple

import pyarrow as pa

from imgframe import digests

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BLOCK = 4096


class UnpackedLayer(NamedTuple):
    """An unpacked layer."""

    diff_id: str
    size: int
    disk_size: int
    inodes: int


def unpack(data: bytes) -> UnpackedLayer:
    """The layer in ``data``: a tar, plain, gzip or zstd.

    The disk size is in blocks of 4 KiB, as ext4 reports small folders: files rounded up, a block for each folder and for the
    root of the snapshot, hard links once.

    Raises:
        ValueError: not a tar, or damaged.

    Example:
        >>> import gzip
        >>> from imgframe.simulator.layer_archive import unpack
        >>> empty = bytes(1024)
        >>> unpack(gzip.compress(empty)) == unpack(empty), unpack(empty)[1:]
        (True, (1024, 4096, 1))
    """
    plain = _plain(data)
    diff_id = digests.sha256(plain)
    disk, folders, inodes = _BLOCK, {""}, 1
    try:
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            for member in archive:
                path = member.name.strip("/").removeprefix("./")
                above = path.rpartition("/")[0]
                while above not in folders:  # parent folders without an entry
                    folders.add(above)
                    disk, inodes = disk + _BLOCK, inodes + 1
                    above = above.rpartition("/")[0]
                if member.isdir():
                    if path not in folders and path != ".":
                        folders.add(path)
                        disk, inodes = disk + _BLOCK, inodes + 1
                elif not member.islnk() and not path.endswith(".wh..wh..opq"):
                    inodes += 1
                    disk += -(-member.size // _BLOCK) * _BLOCK if member.isfile() else 0
    except tarfile.TarError as problem:
        raise ValueError(f"not a tar: {problem}") from problem
    return UnpackedLayer(diff_id, len(plain), disk, inodes)


def _plain(data: bytes) -> bytes:
    try:
        if data.startswith(_GZIP):
            return _gunzip(data)
        if data.startswith(_ZSTD):
            with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
                plain: bytes = stream.read()
                return plain
    except (OSError, zlib.error) as problem:
        raise ValueError(f"damaged: {problem}") from problem
    return data


def _gunzip(data: bytes) -> bytes:
    """All members of a gzip file; a truncated one is an error."""
    parts, rest = [], data
    while rest:
        member = zlib.decompressobj(wbits=31)
        parts.append(member.decompress(rest))
        if not member.eof:
            raise ValueError("damaged: unexpected EOF")
        rest = member.unused_data
    return b"".join(parts)
