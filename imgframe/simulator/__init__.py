"""Simulated nodes: containerd's services over plain dicts, served by gRPC on Unix sockets, with faults on demand.

``make demo``, the notebooks and tests with a thousand nodes use it; reading a real node does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from imgframe.simulator.faults import Fault
from imgframe.simulator.fleets import NodeDay, dated, dump, fleet, history, node, relive
from imgframe.simulator.garbage_collector import collect_garbage
from imgframe.simulator.image_registry import ImageRegistry
from imgframe.simulator.server import Daemon, Simulator
from imgframe.simulator.store import Store

__all__ = [
    "Daemon",
    "Fault",
    "ImageRegistry",
    "NodeDay",
    "Simulator",
    "Store",
    "collect_garbage",
    "dated",
    "dump",
    "fleet",
    "from_dump",
    "history",
    "node",
    "relive",
]


def from_dump(store: Mapping[str, Any], *, faults: Iterable[Fault] = (), name: str = "node") -> Simulator:
    """A simulated daemon that serves the dump ``store``: a context manager with ``.address``.

    The dump has ``namespace`` (default ``default``), ``images``, ``blobs``, ``snapshots`` (by snapshotter), ``containers``,
    ``sandboxes``, ``leases``, ``ingests``, each as :meth:`Store.dump` writes it and each optional; or ``namespaces``: a dict of
    these by namespace. ``daemon`` is containerd's version. A blob has ``text`` or ``base64``, or only a ``size``; a lease without
    ``resources`` holds every blob.

    Example:
        >>> from imgframe import simulator
        >>> with simulator.from_dump({"namespace": "default", "images": []}) as simulated:
        ...     list(simulated.addresses)
        ['node']
    """
    built = Store(store)
    return Simulator({name: lambda: built}, faults)
