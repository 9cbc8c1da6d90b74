"""Every error that imgframe raises, as one tree.

::

    ImgframeError
    ├── InputError (ValueError)         an argument cannot be used
    │   ├── ReferenceError_             an image name that Go's parser refuses
    │   ├── PlatformError               a platform that Go's parser refuses
    │   ├── FilterError                 a filter that Go refuses, with Go's message
    │   ├── NodeError                   a node address or a nodes.toml that cannot be read
    │   └── MissingColumn               a frame lacks a column that the call needs
    ├── DocumentError                   an index, manifest or config that cannot be used
    │   └── NotFound (LookupError)      the requested object does not exist
    ├── SchemaError                     a saved inventory that this version cannot read
    ├── MissingExtra (ImportError)      an optional package is not installed
    ├── WireError                       a call to containerd failed; has .address .call .code
    │   ├── Unreachable                 no socket, no permission, not containerd, daemon gone
    │   ├── TimedOut                    the deadline passed
    │   ├── Missing                     containerd knows no such object
    │   ├── Conflict                    already exists, precondition failed, locked
    │   └── Refused                     any other refusal by containerd
    ├── RegistryError                   a request to a registry failed; never contains a secret
    │   ├── RegistryNotFound
    │   └── RegistryDenied
    └── ActionError                     steps of a plan failed; has .result
"""

from __future__ import annotations

from typing import Any


class ImgframeError(Exception):
    """Base class of all errors that imgframe raises."""


class InputError(ImgframeError, ValueError):
    """An argument cannot be used; the message names the value and what was expected.

    ``go`` is Go's own message where Go refuses the same, and empty elsewhere.
    """

    def __init__(self, message: str = "", *, go: str = "") -> None:
        super().__init__(message)
        self.go = go


class ReferenceError_(InputError):  # noqa: N801, N818 -- ReferenceError is Python's own
    """An image name that Go's reference parser refuses; the message contains Go's, ``go`` is Go's alone."""


class PlatformError(InputError):
    """A platform specifier that Go's parser refuses; the message is Go's."""


class FilterError(InputError):
    """A filter that Go refuses; the message contains Go's, ``go`` is Go's alone (empty: only imgframe refuses it)."""


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
    """An index, manifest or config that cannot be used; the message contains Go's.

    ``code`` is the code in the table ``errors``: ``malformed``, ``not_found``, ``wrong_digest``, ``too_large`` or ``cycle``.
    ``descriptor`` is that of the document, or None where it is not known.
    """

    code = "malformed"
    descriptor: Any = None

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        if code:
            self.code = code


class NotFound(DocumentError, LookupError):  # noqa: N818
    """The requested object does not exist."""

    code = "not_found"


class SchemaError(ImgframeError):
    """A saved inventory that this version cannot read."""


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
    """A request to a registry failed; the message names host and reference and never contains a secret.

    ``reference`` is the image, ``host`` the server, ``status`` its HTTP status (0: no response), ``go`` the message of
    containerd's resolver where that fails in the same way.
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
    """The registry refused the credentials, or requires some."""


class InsecureWarning(UserWarning):
    """Certificates of registries are not verified, as the caller requested."""


class ActionError(ImgframeError):
    """Steps of a plan failed; ``result`` is the whole Result."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result
