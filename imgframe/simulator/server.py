"""Simulated daemons: each is a gRPC server on its own Unix socket, all on imgframe's event-loop thread.

Clients run on that thread too: without a thread switch between request and reply, calls are half as fast again.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message_factory import GetMessageClass

from imgframe import _loop
from imgframe.errors import FilterError, InputError
from imgframe.node import Node
from imgframe.simulator.faults import Fault, Faults
from imgframe.simulator.service import Caller, Service
from imgframe.simulator.services_content import ContentService
from imgframe.simulator.services_daemon import (
    ContainersService,
    IntrospectionService,
    LeasesService,
    SandboxesService,
    TasksService,
    VersionService,
)
from imgframe.simulator.services_images import ImagesService, NamespacesService
from imgframe.simulator.services_snapshots import DiffService, SnapshotsService
from imgframe.simulator.status import Refusal, check_namespace
from imgframe.simulator.store import Store

T = TypeVar("T")
Context = Any  # grpc.aio.ServicerContext, which is untyped

LIMIT = 16 << 20  # bytes of one message, either way
SERVICES: tuple[type[Service], ...] = (
    ContainersService, ContentService, DiffService, ImagesService, IntrospectionService, LeasesService, NamespacesService, SandboxesService, SnapshotsService, TasksService, VersionService,
)  # fmt: skip
_DESCRIPTORS = {service.descriptor.full_name: service.descriptor for service in SERVICES}
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    # containerd accepts thousands of calls in flight
    ("grpc.server.max_pending_requests", 1 << 20),
    ("grpc.server.max_pending_requests_hard_limit", 1 << 20),
]


class Daemon:
    """A simulated daemon.

    ``address`` is its socket (``unix:///...``), ``name`` the name of its node, ``calls`` counts its calls. The store is built
    on first use.
    """

    def __init__(self, name: str, socket: Path, store: Callable[[], Store], faults: Iterable[Fault]) -> None:
        self.name = name
        self.address = f"unix://{socket}"
        self.calls: Counter[str] = Counter()
        self._socket = socket
        self._build = store
        self._faults = Faults(faults, name)
        self._server: grpc.aio.Server | None = None
        self._dying: list[asyncio.Future[None]] = []  # keeps references to running tasks

    def __repr__(self) -> str:
        return f"<simulated containerd {self.name} at {self.address}>"

    @functools.cached_property
    def store(self) -> Store:
        """The store of the daemon, to be changed by :meth:`Simulator.change` only."""
        return self._build()

    @functools.cached_property
    def _services(self) -> dict[str, Service]:
        return {service.descriptor.full_name: service(self.store) for service in SERVICES}

    def replace_store(self, store: Callable[[], Store]) -> None:
        """Replaces the store from the next call on."""
        self.__dict__.pop("_services", None)
        self._build = store
        self.__dict__.pop("store", None)

    async def start(self) -> None:
        """Opens the socket, after a dying daemon has removed its own."""
        await asyncio.gather(*self._dying)
        self._dying.clear()
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((_Handlers(self),))
        server.add_insecure_port(f"unix:{self._socket}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Closes the socket and aborts every call."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)
        self._socket.unlink(missing_ok=True)

    async def serve(self, path: str, request: bytes, context: Context) -> bytes | None:
        """Answers a call with one request; a refusal ends it with code and text."""
        try:
            return await self._answer(path, request, context)
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.details)
        except FilterError as error:
            code, end = self._method(path)[0].bad_filter
            await context.abort(code, f"{error}{end}")
        return None

    async def converse(self, path: str, requests: AsyncIterator[bytes], context: Context) -> None:
        """Answers a call with a stream of requests."""
        service, method, kind = self._method(path)

        async def messages() -> AsyncIterator[Any]:
            async for request in requests:
                if (cut := await self._apply_faults(path, request)) is not None:
                    raise Refusal(*cut.status())
                yield kind.FromString(_limited(request, "received message"))

        try:
            async for reply in method(messages(), _caller(service, context)):
                await context.write(_limited(reply.SerializeToString()))
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.details)

    async def _answer(self, path: str, request: bytes, context: Context) -> bytes | None:
        cut = await self._apply_faults(path, request)
        service, method, kind = self._method(path)
        answer = method(kind.FromString(_limited(request, "received message")), _caller(service, context))
        if not isinstance(answer, Iterator):
            return b"" if answer is None else _limited(answer.SerializeToString())
        for sent, reply in enumerate(answer):
            if cut is not None and sent == cut.messages:
                break
            await context.write(_limited(reply.SerializeToString()))
        if cut is not None:
            raise Refusal(*cut.status())
        return None

    def _method(self, path: str) -> tuple[Service, Callable[..., Any], Any]:
        name, _, rpc = path[1:].partition("/")
        service = self._services[name]
        return service, getattr(service, rpc.lower()), _request_class(path)

    async def _apply_faults(self, path: str, request: bytes) -> Fault | None:
        """Counts the call and applies its faults; returns the one that cuts the stream later, if any."""
        call = short(path)
        self.calls[call] += 1
        cut = None
        for fault in self._faults.of_call(call, request):
            if fault.change is not None:
                fault.change(self.store)
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.die:
                self._dying.append(asyncio.ensure_future(self.stop()))
            if fault.hang or fault.die:
                await asyncio.Event().wait()
            if fault.messages is not None:
                cut = fault
            elif fault.code:
                raise Refusal(*fault.status())
        return cut


class _Handlers(grpc.GenericRpcHandler):
    """Makes the handler of a method on its first call."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._of = functools.cache(self._make)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._of(handler_call_details.method)

    def _make(self, path: str) -> grpc.RpcMethodHandler:
        service, _, rpc = path[1:].partition("/")
        if service not in _DESCRIPTORS:
            return _unknown(f"unknown service {service}")
        method = _DESCRIPTORS[service].methods_by_name.get(rpc)
        if method is None:
            return _unknown(f"unknown method {rpc} for service {service}")
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(functools.partial(self._daemon.converse, path))
        shape = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return shape(functools.partial(self._daemon.serve, path))


def _unknown(details: str) -> grpc.RpcMethodHandler:
    async def refuse(request: bytes, context: Context) -> None:
        del request
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, details)

    return grpc.unary_unary_rpc_method_handler(refuse)


@functools.cache
def short(path: str) -> str:
    """``Images/List`` of ``/containerd.services.images.v1.Images/List``."""
    return path.rpartition(".")[2]


@functools.cache
def _request_class(path: str) -> Any:
    service, _, rpc = path[1:].partition("/")
    return GetMessageClass(_DESCRIPTORS[service].methods_by_name[rpc].input_type)


def _caller(service: Service, context: Context) -> Caller:
    """Namespace and lease from the headers, validated as containerd does."""
    headers = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    caller = Caller(headers.get("containerd-namespace", ""), headers.get("containerd-lease", ""))
    if service.namespaced:
        check_namespace(caller.namespace)
    return caller


def _limited(message: bytes, what: str = "trying to send message") -> bytes:
    if len(message) > LIMIT:
        text = f"grpc: {what} larger than max ({len(message)} vs. {LIMIT})"
        raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
    return message


class Simulator:
    """Simulated daemons that serve while the ``with`` block lasts, on sockets in a temporary folder.

    ``address`` is that of the first, ``addresses`` are those of all, ``nodes`` are for :func:`imgframe.collect`, ``daemons``
    are by name.

    Example:
        >>> from imgframe import simulator
        >>> with simulator.from_dump({"namespace": "default", "images": []}) as simulated:
        ...     simulated.address.startswith("unix:///")
        True
    """

    def __init__(
        self,
        stores: Mapping[str, Callable[[], Store]],
        faults: Iterable[Fault] = (),
        about: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._stores = dict(stores)
        self._faults = tuple(faults)
        self._about = about or {}
        self._folder: Path | None = None
        self.daemons: dict[str, Daemon] = {}

    def __enter__(self) -> Self:
        if self._folder is not None:
            raise InputError(
                "this simulator is already running; its with block can be entered once at a time"
            )
        self._folder = Path(tempfile.mkdtemp(prefix="imgframe-"))
        self.daemons = {
            name: Daemon(name, self._folder / f"{place}.sock", store, self._faults)
            for place, (name, store) in enumerate(self._stores.items())
        }
        try:
            _loop.run(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._folder is not None
        _loop.run(self._stop())
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    @property
    def address(self) -> str:
        """The address of the first daemon."""
        return self._of("").address

    @property
    def addresses(self) -> dict[str, str]:
        """The address of each node, by name."""
        return {name: daemon.address for name, daemon in self.daemons.items()}

    @property
    def nodes(self) -> list[Node]:
        """The nodes with names, labels and disk sizes, for :func:`imgframe.collect`."""
        return [Node(address, name, **self._about.get(name, {})) for name, address in self.addresses.items()]

    @property
    def store(self) -> Store:
        """The store of the first daemon."""
        return self._of("").store

    def change(self, change: Callable[[Store], T], node: str = "") -> T:
        """Calls ``change`` with the store of ``node`` (default: the first) between two calls; returns its result."""

        async def now() -> T:
            return change(self._of(node).store)

        return _loop.run(now())

    def kill(self, node: str = "") -> None:
        """Kills a daemon: calls are aborted, the socket is removed."""
        _loop.run(self._of(node).stop())

    def revive(self, node: str = "") -> None:
        """Restarts a daemon at the same address with the same store."""
        _loop.run(self._of(node).start())

    def replace_stores(self, stores: Mapping[str, Callable[[], Store]]) -> None:
        """Replaces stores of daemons."""

        async def now() -> None:
            for name, store in stores.items():
                self.daemons[name].replace_store(store)

        _loop.run(now())

    def _of(self, node: str) -> Daemon:
        return self.daemons[node] if node else next(iter(self.daemons.values()))

    async def _start(self) -> None:
        for daemon in self.daemons.values():
            await daemon.start()

    async def _stop(self) -> None:
        await asyncio.gather(*(daemon.stop() for daemon in self.daemons.values()))
