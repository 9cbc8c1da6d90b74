"""gRPC to containerd: one asynchronous client per node; calls return plain frozen records and raise imgframe's errors."""

from imgframe.wire import records
from imgframe.wire.client import Client
from imgframe.wire.daemon import layout

__all__ = ["Client", "layout", "records"]
