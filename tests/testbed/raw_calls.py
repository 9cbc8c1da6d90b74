"""The same raw calls to any containerd, real or simulated, with answers that can be compared."""

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass

from imgframe._proto import (
    containers_pb2,
    content_pb2,
    diff_pb2,
    images_pb2,
    introspection_pb2,
    leases_pb2,
    namespaces_pb2,
    sandbox_pb2,
    snapshots_pb2,
    tasks_pb2,
    version_pb2,
)

_MODULES = {
    "Containers": containers_pb2,
    "Content": content_pb2,
    "Diff": diff_pb2,
    "Images": images_pb2,
    "Introspection": introspection_pb2,
    "Leases": leases_pb2,
    "Namespaces": namespaces_pb2,
    "Snapshots": snapshots_pb2,
    "Store": sandbox_pb2,
    "Tasks": tasks_pb2,
    "Version": version_pb2,
}
_TIMES = {"createdAt", "updatedAt", "startedAt", "exitedAt"}
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
]


class Asker:
    """Raw calls over one channel, in one namespace by default."""

    def __init__(self, address, namespace):
        self.channel = grpc.insecure_channel(address.replace("unix://", "unix:"), options=OPTIONS)
        self.namespace = namespace

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def __call__(self, call, *requests, namespace=None, lease="", timeout=120, **fields):
        """Replies of a call (``Images/List``), as messages; raises grpc.RpcError."""
        if isinstance(namespace, dict):  # the message of that name, not the header
            fields, namespace = {**fields, "namespace": namespace}, None
        service, method = call.split("/")
        described = _MODULES[service].DESCRIPTOR.services_by_name[service]
        shape = described.methods_by_name[method]
        taken, given = GetMessageClass(shape.input_type), GetMessageClass(shape.output_type)
        kind = f"{'stream' if shape.client_streaming else 'unary'}_{'stream' if shape.server_streaming else 'unary'}"
        ask = getattr(self.channel, kind)(
            f"/{described.full_name}/{method}", taken.SerializeToString, given.FromString
        )
        namespace = self.namespace if namespace is None else namespace
        headers = [("containerd-namespace", namespace)] if namespace else []
        headers += [("containerd-lease", lease)] if lease else []
        request = iter(taken(**each) for each in requests) if shape.client_streaming else taken(**fields)
        reply = ask(request, metadata=headers, timeout=timeout)
        return list(reply) if shape.server_streaming else [reply]

    def answer(self, call, *requests, **fields):
        """What can be compared: replies as dicts without times, or code and text."""
        try:
            replies = self(call, *requests, **fields)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return [_timeless(MessageToDict(reply)) for reply in replies]


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in _TIMES}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return value
