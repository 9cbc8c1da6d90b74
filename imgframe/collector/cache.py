"""The cache of collections: documents by digest, and the usage of committed snapshots, which never change.

It is one SQLite file that may be deleted at any time and used by several processes at once. Its contents have checksums; a
damaged file is deleted and rebuilt. Documents are stored as bundles: one block for all that a collection read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import platformdirs

from imgframe import schema
from imgframe._version import __version__

T = TypeVar("T")

LIMIT = 1 << 30
"""Size of all bundles above which the oldest are deleted [bytes]."""

Usages = dict[str, tuple[int, int, int]]
"""Snapshot key to (created_at [ns], size [bytes], inodes)."""

_FORMAT = 7
_MADE_BY = zlib.crc32(f"{__version__} {schema.VERSION} {_FORMAT}".encode()) & 0x7FFFFFFF
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS bundles (
    id INTEGER PRIMARY KEY AUTOINCREMENT, checksum BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS members (digest TEXT PRIMARY KEY, bundle INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS namespace_bundles (
    store TEXT NOT NULL, namespace TEXT NOT NULL, bundle INTEGER NOT NULL, PRIMARY KEY (store, namespace, bundle)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usages (
    store TEXT NOT NULL, namespace TEXT NOT NULL, snapshotter TEXT NOT NULL, checksum BLOB NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (store, namespace, snapshotter));
PRAGMA application_id = {_MADE_BY};
COMMIT;
"""
_FIND_BUNDLE = "SELECT bundle FROM members WHERE digest IN (SELECT value FROM json_each(?)) LIMIT 1"
_DAMAGES = ("no such table", "no such column", "disk I/O error", "unsupported file format")
_ENCODER = msgspec.msgpack.Encoder()
_USAGES = msgspec.msgpack.Decoder(Usages)


class DamagedCache(Exception):  # noqa: N818 -- a state, not an action
    """The file was not written by this version."""


def default_path() -> Path:
    """Path of the cache, in the user's cache directory."""
    return Path(platformdirs.user_cache_dir("imgframe")) / "collector.sqlite"


class Cache:
    """The cache in the file ``path``.

    A file that cannot be used costs time, never the collection: there is one warning, and everything is read from nodes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._broken = False

    def bundle(self, digests: Iterable[str]) -> tuple[int, bytes] | None:
        """ID and block of a bundle with one of the documents ``digests``; None if there is none."""
        wanted = msgspec.json.encode(list(digests)).decode()
        return self._do(lambda db: _find_bundle(db, wanted), None)

    def bundle_at(self, number: int) -> bytes | None:
        """The block of a bundle; None if it is gone."""
        return self._do(lambda db: _read_bundle(db, number), None)

    def add_bundle(self, digests: Iterable[str], data: bytes, instead_of: Iterable[int] = ()) -> int | None:
        """Stores a bundle with the documents ``digests``, in place of other bundles; returns its ID, None on failure."""
        return self._do(lambda db: _insert_bundle(db, list(digests), data, list(instead_of)), None)

    def namespace_bundles(self, store: str, namespace: str) -> set[int]:
        """IDs of the bundles with the documents that a namespace had when it was last read."""
        scope = (store, namespace)
        return self._do(
            lambda db: {
                row[0]
                for row in db.execute(
                    "SELECT bundle FROM namespace_bundles WHERE store = ? AND namespace = ?", scope
                )
            },
            set(),
        )

    def set_namespace_bundles(self, store: str, namespace: str, bundles: Iterable[int]) -> None:
        """Stores these IDs and no others."""
        rows = [(store, namespace, bundle) for bundle in bundles]
        self._do(lambda db: _replace_namespace_bundles(db, (store, namespace), rows), None)

    def usages(self, store: str, namespace: str, snapshotter: str) -> Usages:
        """Usage of the committed snapshots of a snapshotter."""
        scope = (store, namespace, snapshotter)
        row = self._do(
            lambda db: db.execute(
                "SELECT checksum, data FROM usages WHERE store = ? AND namespace = ? AND snapshotter = ?",
                scope,
            ).fetchone(),
            None,
        )
        if row is None or row[0] != _checksum(row[1]):
            return {}
        return _USAGES.decode(row[1])

    def set_usages(self, store: str, namespace: str, snapshotter: str, usages: Usages) -> None:
        """Stores these usages and no others."""
        data = _ENCODER.encode(usages)
        row = (store, namespace, snapshotter, _checksum(data), data)
        self._do(lambda db: db.execute("INSERT OR REPLACE INTO usages VALUES (?, ?, ?, ?, ?)", row), None)

    def close(self) -> None:
        """Closes the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _do(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Does the work in a transaction. A damaged file is rebuilt once; any other failure disables the cache."""
        for again in (False, True):
            if self._broken:
                return otherwise
            try:
                if self._connection is None:
                    self._connection = _open(self.path)
                with self._connection as db:
                    return work(db)
            except (sqlite3.DatabaseError, DamagedCache, OSError, UnicodeDecodeError) as error:
                self.close()
                self._broken = again or not _is_damage(error) or not _remove_damaged(self.path)
                if self._broken:
                    warnings.warn(
                        f"the cache {str(self.path)!r} cannot be used, collecting without it: {error}",
                        RuntimeWarning,
                        stacklevel=2,
                    )
        return otherwise


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _open(path: Path) -> sqlite3.Connection:
    """Opens or creates the file; only one process creates it, because SQLite's change to WAL does not wait for locks."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size:
        return _connect(path)
    with _locked(path):
        return _connect(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Excludes other processes that create or delete the file."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=10.0, check_same_thread=False)
    try:
        _prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA page_size = 65536")  # for a new file: blocks are megabytes
    db.execute("PRAGMA cache_size = 8")  # pages: blocks are read once, sequentially
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    # in this order: another process may create it in between
    empty = db.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    made_by = db.execute("PRAGMA application_id").fetchone()[0]
    if made_by == 0 and empty:
        db.executescript(_SCHEMA)
    elif made_by != _MADE_BY:
        raise DamagedCache("another version of imgframe wrote it")


def _find_bundle(db: sqlite3.Connection, wanted: str) -> tuple[int, bytes] | None:
    found = db.execute(_FIND_BUNDLE, (wanted,)).fetchone()
    if found is None:
        return None
    data = _read_bundle(db, found[0])
    return None if data is None else (found[0], data)


def _read_bundle(db: sqlite3.Connection, number: int) -> bytes | None:
    """The block, read through a BLOB handle in a tenth of the time of a SELECT, which copies it twice."""
    db.execute("BEGIN")  # no other process deletes it between the two
    row = db.execute("SELECT checksum FROM bundles WHERE id = ?", (number,)).fetchone()
    if row is not None:
        with db.blobopen("bundles", "data", number, readonly=True) as blob:
            data = blob.read()
        if row[0] == _checksum(data):
            return data
    db.commit()
    _forget(db, (number,))
    return None


def _replace_namespace_bundles(
    db: sqlite3.Connection, scope: tuple[str, str], rows: list[tuple[str, str, int]]
) -> None:
    db.execute("DELETE FROM namespace_bundles WHERE store = ? AND namespace = ?", scope)
    db.executemany("INSERT OR IGNORE INTO namespace_bundles VALUES (?, ?, ?)", rows)


def _insert_bundle(
    db: sqlite3.Connection, digests: list[str], data: bytes, instead_of: list[int]
) -> int | None:
    for old in instead_of:
        _forget(db, (old,))
    new = db.execute("INSERT INTO bundles (checksum, data) VALUES (?, ?)", (_checksum(data), data)).lastrowid
    db.executemany("INSERT OR REPLACE INTO members VALUES (?, ?)", ((digest, new) for digest in digests))
    total = db.execute("SELECT total(length(data)) FROM bundles").fetchone()[0]
    if total > LIMIT:
        _forget(db, db.execute("SELECT min(id) FROM bundles").fetchone())
    return new


def _forget(db: sqlite3.Connection, bundle: tuple[int]) -> None:
    db.execute("DELETE FROM members WHERE bundle = ?", bundle)
    db.execute("DELETE FROM namespace_bundles WHERE bundle = ?", bundle)
    db.execute("DELETE FROM bundles WHERE id = ?", bundle)


def _is_damage(error: Any) -> bool:
    """Whether the file itself is damaged or was deleted, rather than locked, read-only, or on a full disk."""
    if isinstance(error, sqlite3.OperationalError):
        return any(said in str(error) for said in _DAMAGES)
    return isinstance(error, (sqlite3.DatabaseError, DamagedCache, UnicodeDecodeError))


def _remove_damaged(path: Path) -> bool:
    """Deletes the file unless another process has replaced it with a sound one; True if it can be opened."""
    try:
        with _locked(path):
            if _sound(path):
                return True
            for end in ("-wal", "-shm", ""):
                Path(f"{path}{end}").unlink(missing_ok=True)
            _connect(path).close()
    except (OSError, sqlite3.DatabaseError):
        return False
    return True


def _sound(path: Path) -> bool:
    try:
        db = _connect(path)
    except (sqlite3.DatabaseError, DamagedCache, UnicodeDecodeError):
        return False
    try:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {"bundles", "members", "namespace_bundles", "usages"} <= tables and db.execute(
            "PRAGMA integrity_check"
        ).fetchone()[0] == "ok"
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # from SQLite's message
        return False
    finally:
        db.close()


def open_cache(cache: bool | str | os.PathLike[str]) -> Cache | None:
    """The cache for an argument of ``collect``: True is the user's, a path that file, False none."""
    if cache is False:
        return None
    return Cache(default_path() if cache is True else Path(cache))
