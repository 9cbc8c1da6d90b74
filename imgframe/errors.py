"""Every error that imgframe raises, as one tree.

::

    ImgframeError
    ├── InputError (ValueError)         what the caller gave cannot be used
    │   ├── ReferenceError_             an image name that Go's parser refuses
    │   ├── PlatformError               a platform that Go's parser refuses
    │   ├── FilterError                 a filter that Go refuses, with Go's words
    │   ├── NodeError                   an address or a nodes.toml that cannot be read
    │   └── MissingColumn               a frame lacks a column that the call needs
    ├── DocumentError                   an index, manifest or config that cannot be used
    │   └── NotFound (LookupError)      what was asked for is not there
    ├── SchemaError                     a saved inventory that this version does not understand
    ├── MissingExtra (ImportError)      an optional package is not installed
    ├── WireError                       a call to containerd failed; has .address .call .code
    │   ├── Unreachable                 no socket, no permission, not containerd, daemon gone
    │   ├── TimedOut                    the deadline passed
    │   ├── Missing                     containerd says not found
    │   ├── Conflict                    already exists, precondition failed, locked
    │   └── Refused                     everything else that containerd refuses
    ├── RegistryError                   a call to a registry failed; never holds a secret
    │   ├── RegistryNotFound
    │   └── RegistryDenied
    └── ActionError                     steps of a plan failed; has .result
"""

from __future__ import annotations

from typing import Any


class ImgframeError(Exception):
    """Base of everything that imgframe raises on purpose."""


class InputError(ImgframeError, ValueError):
    """What the caller gave cannot be used; the message names the value and what was expected.

    ``go`` holds Go's own words where Go refuses the same, and is empty elsewhere.
    """

    go: str = ""


class ReferenceError_(InputError):  # noqa: N801, N818 -- ReferenceError is Python's own
    """An image name that Go's reference parser refuses; the message holds Go's words, ``go`` is them alone."""

    go: str = ""


class PlatformError(InputError):
    """A platform specifier that Go's parser refuses; the message holds Go's words."""


class FilterError(InputError):
    """A filter that Go refuses; the message holds Go's words, ``go`` is them alone (empty: refused by imgframe only)."""

    go: str = ""


class NodeError(InputError):
    """A node address or a ``nodes.toml`` that cannot be read."""


class MissingColumn(InputError):  # noqa: N818
    """A frame lacks a column that the call needs."""

    def __init__(self, column: str, needed_by: str, columns: Any) -> None:
        names = [str(name) for name in columns]
        super().__init__(
            f"{needed_by} needs the column {column!r}; the frame has {', '.join(names) or 'no columns'}"
        )
        self.column = column


class DocumentError(ImgframeError):
    """An index, manifest or config that cannot be used; the message holds Go's words.

    ``code`` is what the table ``errors`` says: ``malformed``, ``not_found``, ``wrong_digest``, ``too_large`` or ``cycle``.
    ``descriptor`` is the document that could not be used, where a reading got as far as to know it, else None.
    """

    code = "malformed"
    descriptor: Any = None

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        if code:
            self.code = code


class NotFound(DocumentError, LookupError):  # noqa: N818
    """What was asked for is not there."""

    code = "not_found"


class SchemaError(ImgframeError):
    """A saved inventory that this version does not understand."""


class MissingExtra(ImgframeError, ImportError):  # noqa: N818
    """An optional package is not installed; the message gives the pip line."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'imgframe[{extra}]'")
        self.package = package
        self.extra = extra


class WireError(ImgframeError):
    """A call to containerd failed.

    ``address`` is the node's address, ``call`` the method (``Images/List``), ``code`` the gRPC status name.
    """

    def __init__(self, message: str, *, address: str = "", call: str = "", code: str = "") -> None:
        super().__init__(message)
        self.address = address
        self.call = call
        self.code = code


class Unreachable(WireError):  # noqa: N818
    """No socket, no permission, not a containerd socket, or the daemon is gone."""


class TimedOut(WireError):  # noqa: N818
    """The deadline passed before containerd answered."""


class Missing(WireError):  # noqa: N818
    """containerd answered that the object does not exist."""


class Conflict(WireError):  # noqa: N818
    """containerd answered that the object exists, is locked, or is in another state than expected."""


class Refused(WireError):  # noqa: N818
    """containerd refused the request."""


class RegistryError(ImgframeError):
    """A call to a registry failed; the message names host and reference and never holds a secret.

    ``reference`` is the image, ``host`` the server asked, ``status`` its HTTP status (0: it did not answer), ``go`` are
    the words of containerd's resolver where it fails in the same way.
    """

    def __init__(
        self, message: str, *, reference: str = "", host: str = "", status: int = 0, go: str = ""
    ) -> None:
        super().__init__(message)
        self.reference = reference
        self.host = host
        self.status = status
        self.go = go


class RegistryNotFound(RegistryError):  # noqa: N818
    """The registry has no such reference."""


class RegistryDenied(RegistryError):  # noqa: N818
    """The registry refused the credentials, or wants some."""


class InsecureWarning(UserWarning):
    """The certificates of registries are not checked, because the caller asked for that."""


class ActionError(ImgframeError):
    """Steps of a plan failed; ``result`` is the whole Result."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result
