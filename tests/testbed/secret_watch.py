"""Searches everything that a test run leaves, prints, logs and raises for the marked credential."""

import base64
import contextlib
import logging
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from imgframe import errors
from testbed.registries import SECRET, USER

_PACKED = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
FORMS = tuple(
    {
        SECRET,
        SECRET[::-1],
        _PACKED,
        urllib.parse.quote_plus(_PACKED),
        base64.b64encode(SECRET.encode()).decode(),
    }
)
"""The credential as it may look."""

_INPUTS = ("hosts.toml", "htpasswd", "docker-credential-")
_LOGGERS = ("imgframe", "aiohttp", "tenacity")  # what our requests go through, at every level


def found(text: str | bytes) -> bool:
    """Whether the credential is in a text."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return any(form.encode() in data for form in FORMS)


def in_files(folder: Path) -> list[Path]:
    """Files below a folder that hold it, but for those that tests write for us to read it from.

    Tables are decoded: what is compressed would not be found in their bytes.
    """
    files = (one for one in folder.rglob("*") if one.is_file() and not one.is_symlink())
    return [file for file in files if not _is_input(file) and _in_file(file)]


def _is_input(file: Path) -> bool:
    return file.name.startswith(_INPUTS) or (file.suffix == ".json" and b'"auths"' in _bytes(file))


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # removed meanwhile
        return b""


def _in_file(file: Path) -> bool:
    data = _bytes(file)
    if found(data):
        return True
    if data[:4] != b"PAR1":
        return False
    try:
        columns = parquet.read_table(file).columns
    except (pa.ArrowInvalid, OSError):  # spoilt by the test on purpose
        return False
    return any(found(str(one)) for column in columns for one in _texts(column))


def _texts(column: pa.ChunkedArray) -> Any:
    kind = column.type
    holds = pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_nested(kind)
    if not holds:
        return ()
    return column if pa.types.is_nested(kind) else column.unique()


class Watch:
    """Remembers where the credential was seen. ``seen`` is emptied by who asks.

    Watched are the texts of our errors as they are made, log records, ours at every level, and what programs print to us.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._last: BaseException | None = None

    def take(self) -> list[str]:
        """What was seen since this was last asked."""
        seen, self.seen = self.seen, []
        return seen

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watches meanwhile."""
        with contextlib.ExitStack() as stack:
            for kind in _all_of(errors.ImgframeError):
                if kind is errors.ImgframeError or "__init__" in vars(kind):
                    stack.enter_context(_followed(kind, "__init__", self._error))
            stack.enter_context(_followed(subprocess.Popen, "communicate", self._program))
            handler = _Handler(self)
            stack.enter_context(_logged(logging.getLogger(), handler))
            for name in _LOGGERS:
                stack.enter_context(_logged(logging.getLogger(name), handler, logging.DEBUG))
            yield

    def _error(self, error: BaseException, _result: object) -> None:
        if error is self._last:  # __init__ of a class calls that of its base: one error is one sighting
            return
        texts = [str(error), repr(error), repr(vars(error)), *getattr(error, "__notes__", ())]
        if any(map(found, texts)):
            self._last = error
            self.seen.append(f"the error {type(error).__name__}")

    def _program(self, process: subprocess.Popen, result: tuple) -> None:
        if any(found(text) for text in result if text):
            self.seen.append(f"what {process.args} printed")


class _Handler(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        if found(self.format(record)):
            self._watch.seen.append(f"a log record of {record.name}")


def _all_of(kind: type) -> Iterator[type]:
    yield kind
    for one in kind.__subclasses__():
        yield from _all_of(one)


@contextlib.contextmanager
def _followed(owner: type, name: str, then: Callable[[Any, Any], None]) -> Iterator[None]:
    """A method after which something else looks at the object and the result."""
    own = vars(owner).get(name)

    def both(self: Any, *arguments: Any, **options: Any) -> Any:
        method = getattr(super(owner, self), name) if own is None else own.__get__(self)
        result = method(*arguments, **options)
        then(self, result)
        return result

    setattr(owner, name, both)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


@contextlib.contextmanager
def _logged(logger: logging.Logger, handler: logging.Handler, wanted: int | None = None) -> Iterator[None]:
    """A handler for what a logger lets through, or for all from a level on."""
    level = logger.level
    logger.setLevel(level if wanted is None else wanted)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
