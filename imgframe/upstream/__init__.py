"""What registries say about the images of an inventory; nothing is written, neither to a node nor to a registry.

::

    lookup       how registries are asked, and many names at a time
    resolve      names to digests
    staleness    each record against its registry
    presence     which digests no registry has
    recheck      the same for one deletion, right before it
    sessions     the registry sessions and images that all nodes of a plan share
"""

from imgframe.upstream.presence import irreplaceable
from imgframe.upstream.resolve import resolve_digest
from imgframe.upstream.staleness import stale

__all__ = ["irreplaceable", "resolve_digest", "stale"]
