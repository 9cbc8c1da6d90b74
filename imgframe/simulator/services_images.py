"""The images and namespaces services of a simulated store."""

from __future__ import annotations

import grpc

from imgframe import digests
from imgframe._proto import images_pb2 as api
from imgframe._proto import namespaces_pb2 as namespaces_api
from imgframe._proto.types_pb2 import Descriptor
from imgframe.simulator.garbage_collector import collect_garbage, has_image_rules
from imgframe.simulator.record_filters import by_name, fields, select
from imgframe.simulator.service import Caller, Service, stamped
from imgframe.simulator.status import (
    Refusal,
    check_identifier,
    check_labels,
    exists,
    found,
    invalid,
    not_empty,
    not_found,
    precondition,
    updated,
)
from imgframe.simulator.store import StoredImage

_FIELDS = fields(
    {("name",): "name", ("target", "digest"): "digest", ("target", "mediatype"): "media_type"},
    ("labels", "annotations"),
)


def _message(image: StoredImage) -> api.Image:
    target = Descriptor(
        media_type=image.media_type, digest=image.digest, size=image.size, annotations=image.annotations
    )
    return stamped(api.Image(name=image.name, labels=image.labels, target=target), image)


def _check(image: api.Image, release: tuple[int, int]) -> None:
    if not image.name:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "Image.Name required")
    check_labels(image.labels, "image.Labels: ")
    target = "target" if release >= (2, 3) else "Target"
    if problem := digests.digest_error(image.target.digest):
        raise invalid(f'{target}.Digest "{image.target.digest}" invalid: {problem}')
    if image.target.size <= 0:
        raise invalid(f"{target}.Size must be greater than zero")
    if not image.target.media_type:
        raise invalid(f"{target}.MediaType must be set")


class ImagesService(Service):
    """Image records. Garbage is collected only by a delete with ``sync``."""

    descriptor = api.DESCRIPTOR.services_by_name["Images"]

    def get(self, request: api.GetImageRequest, caller: Caller) -> api.GetImageResponse:
        return api.GetImageResponse(image=_message(self._find(request.name, caller)))

    def list(self, request: api.ListImagesRequest, caller: Caller) -> api.ListImagesResponse:
        images = self.store.space(caller.namespace).images
        rows = select(request.filters, by_name(images), _FIELDS)
        return api.ListImagesResponse(images=map(_message, rows))

    def create(self, request: api.CreateImageRequest, caller: Caller) -> api.CreateImageResponse:
        new = request.image
        _check(new, self.store.release)
        self.lease(caller)
        space = self.store.writable(caller.namespace)
        if new.name in space.images:
            raise exists(f'image "{new.name}"')
        now, target = self.store.clock(), new.target
        kind, digest, size, annotations = (
            target.media_type,
            target.digest,
            target.size,
            dict(target.annotations),
        )
        image = StoredImage(new.name, not_empty(new.labels), kind, digest, size, annotations, now, now)
        space.images[new.name] = image
        if has_image_rules(self.store):
            self.hold(caller, "images", new.name)
        return api.CreateImageResponse(image=_message(image))

    def update(self, request: api.UpdateImageRequest, caller: Caller) -> api.UpdateImageResponse:
        new, paths = request.image, list(request.update_mask.paths)
        if not new.name:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "Image.Name required")
        image = self._find(new.name, caller)
        for path in paths:
            if path != "target" and path.partition(".")[0] not in {"labels", "annotations"}:
                raise invalid(f'cannot update "{path}" field on image "{new.name}"')
        whole = not paths or "target" in paths
        named = [path for path in paths if path.startswith("labels")]
        labels = updated(image.labels, new.labels, named) if named or not paths else image.labels
        target = new.target
        if whole:
            _check(new, self.store.release)
        check_labels(labels, "image.Labels: ")
        image.labels = labels
        if whole:
            image.media_type, image.digest, image.size = target.media_type, target.digest, target.size
            image.annotations = dict(target.annotations)
        elif named := [f"labels{path[11:]}" for path in paths if path.startswith("annotations")]:
            image.annotations = updated(image.annotations, target.annotations, named)
        image.updated_at = self.store.clock()
        return api.UpdateImageResponse(image=_message(image))

    def delete(self, request: api.DeleteImageRequest, caller: Caller) -> None:
        image = self._find(request.name, caller)
        wanted = request.target.digest if request.HasField("target") else ""
        if wanted and has_image_rules(self.store) and wanted != image.digest:
            raise not_found(f'image "{image.name}" has target {image.digest}, not {wanted}')
        del self.store.namespaces[caller.namespace].images[request.name]
        if request.sync:
            collect_garbage(self.store)

    def _find(self, name: str, caller: Caller) -> StoredImage:
        return found(self.store.space(caller.namespace).images, name, f'image "{name}"')


class NamespacesService(Service):
    """Namespaces; for all other services one that does not exist is empty."""

    descriptor = namespaces_api.DESCRIPTOR.services_by_name["Namespaces"]
    namespaced = False

    def list(
        self, request: namespaces_api.ListNamespacesRequest, caller: Caller
    ) -> namespaces_api.ListNamespacesResponse:
        del request, caller  # containerd ignores the filter as well
        spaces = sorted(self.store.namespaces.items(), key=lambda space: space[0].encode())
        rows = [namespaces_api.Namespace(name=name, labels=space.labels) for name, space in spaces]
        return namespaces_api.ListNamespacesResponse(namespaces=rows)

    def create(
        self, request: namespaces_api.CreateNamespaceRequest, caller: Caller
    ) -> namespaces_api.CreateNamespaceResponse:
        del caller
        name = request.namespace.name
        check_identifier(name)
        check_labels(request.namespace.labels, "namespace.Labels: ")
        if name in self.store.namespaces:
            raise exists(f'namespace "{name}"')
        self.store.writable(name).labels = not_empty(request.namespace.labels)
        return namespaces_api.CreateNamespaceResponse(namespace=request.namespace)

    def delete(self, request: namespaces_api.DeleteNamespaceRequest, caller: Caller) -> None:
        del caller
        space = found(self.store.namespaces, request.name, f'namespace "{request.name}"')
        held = {"images": space.images, "blobs": space.content, "containers": space.containers}
        held |= {f'snapshots on "{name}" snapshotter': rows for name, rows in space.snapshots.items()}
        if left := ", ".join(kind for kind, rows in held.items() if rows):
            raise precondition(f'namespace "{request.name}" must be empty, but it still has {left}')
        del self.store.namespaces[request.name]
