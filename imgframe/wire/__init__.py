"""The only room that knows gRPC: one async client per node, plain frozen records out, our errors."""

from imgframe.wire import records
from imgframe.wire.client import Client
from imgframe.wire.daemon import layout

__all__ = ["Client", "layout", "records"]
