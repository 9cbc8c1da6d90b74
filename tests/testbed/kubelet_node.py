"""A node as a case of the kubelet's vectors tells it: images, containers, a file system, calls that fail, a clock."""

from imgframe.errors import InputError
from imgframe.kubelet import Candidate, CriError, ImageGC, Loops, Run, RuntimeContainer, RuntimeImage, release

_NEVER = 1 << 62


class Node:
    """The container runtime and the clock of one case; `apply` changes what is there."""

    def __init__(self, latency):
        self.now = 0
        self.during_listing = []  # operations while the next listing of images goes on
        self.detect = None  # what an operation "detect" among them calls
        self._images, self._containers, self._failures = [], {}, {}
        self._capacity = self._available = None
        self._latency = latency

    def apply(self, op):
        match op["op"]:
            case "image":
                image = op["image"]
                same = [one for one in self._images if self._entry(one) == self._entry(image)]
                if same:
                    self._images[self._images.index(same[0])] = image
                else:
                    self._images.append(image)
            case "image_again":
                self._images.append(op["image"])
            case "image_gone":
                self._images = [one for one in self._images if one["id"] != op["id"]]
            case "container":
                self._containers[op["container"]["id"]] = op["container"]
            case "container_gone":
                self._containers.pop(op["id"], None)
            case "fs":
                self._capacity, self._available = op.get("capacity"), op.get("available")
            case "fail":
                self._failures[op["call"], op.get("id")] = op.get("error")
            case other:
                raise ValueError(other)

    @staticmethod
    def _entry(image):
        return image["id"], image.get("handler", "")

    def _may_fail(self, call, subject=None):
        if (error := self._failures.get((call, subject))) is not None:
            raise CriError(error)

    def images(self):
        operations, self.during_listing = self.during_listing, []
        for op in operations:
            self.now += op.get("wait", 0)
            if op["op"] == "detect":
                self.detect()
            else:
                self.apply(op)
        self.now += self._latency["list"]
        self._may_fail("list_images")
        return [
            RuntimeImage(one["id"], one.get("size", 0), one.get("pinned", False), one.get("handler", ""))
            for one in self._images
        ]

    def sandboxes(self):
        self._may_fail("list_sandboxes")

    def containers(self):
        self._may_fail("list_containers")
        return [
            RuntimeContainer(
                one["id"], one.get("image_id") or one.get("image_ref") or "", one.get("handler", "")
            )
            for one in self._containers.values()
            if not one.get("no_image") and not one.get("no_metadata")
        ]

    def mounted_images(self, container):
        self._may_fail("container_status", container)
        return self._containers.get(container, {}).get("image_mounts", ())

    def remove(self, image):
        self.now += self._latency["remove"]
        self._may_fail("remove", image)
        gone = [one for one in self._images if one["id"] == image]
        self._images = [one for one in self._images if one["id"] != image]
        if self._available is not None:
            self._available += sum(one.get("frees", 0) for one in gone)

    def file_system(self):
        self._may_fail("fs_stats")
        return self._capacity or 0, self._available or 0


def expected(case, version):
    """What a version did, written out where the case says only how it differs from another."""
    own = case["expect"][version]
    if "like" not in own:
        return own
    other = expected(case, own["like"])
    runs = [dict(run) for run in other.get("runs", ())]
    for index, changes in own.get("runs", {}).items():
        runs[int(index)] |= changes
    kept = ("error",)  # null where a run succeeded; elsewhere null is absent
    runs = [{key: value for key, value in run.items() if value is not None or key in kept} for run in runs]
    changed = {key: value for key, value in own.items() if key not in ("like", "runs")}
    return {**other, **changed, "runs": runs}


class Replay:
    """A case played for one version; ties fall as they fell there."""

    def __init__(self, case, version):
        self.runs, self.kubelet_events, self.construct_error = [], [], None
        self._case, self._version = case, version
        self._recorded = expected(case, version).get("runs") or []
        self._by_handler = case["gates"].get("RuntimeClassInImageCriApi", False)
        self._node, self._gc = Node(case["latency"]), None
        try:
            if case["mode"] == "calls":
                for op in case["ops"]:
                    self._call(op)
            else:
                self._loop()
        except InputError as error:
            self.construct_error = str(error)

    def state(self):
        records = self._gc.records.items() if self._gc else ()
        return sorted([key, one.first_detected, one.last_used, one.size, one.pinned] for key, one in records)

    def _order(self, candidates):
        run = self._recorded[len(self.runs)] if len(self.runs) < len(self._recorded) else {}
        seen = [*run.get("age", ()), *run.get("space", ())]
        rank = {image: place for place, image in reversed(list(enumerate(seen)))}
        return sorted(candidates, key=lambda one: (*_age(one), rank.get(self._image(one), _NEVER), one.key))

    def _image(self, candidate: Candidate):
        return candidate.key.partition(",")[0] if self._by_handler else candidate.key

    def _start(self):
        policy = self._case["policy"]
        self._gc = ImageGC(
            policy["high"],
            policy["low"],
            policy["min_age"],
            policy["max_age"],
            runtime=self._node,
            clock=lambda: self._node.now,
            release=release(self._version),
            image_volume=self._case["gates"].get("ImageVolume"),
            by_handler=self._by_handler,
            order=self._order,
        )
        return self._gc

    def _call(self, op):
        node = self._node
        node.now = max(node.now, op.get("t", 0))
        if op["op"] == "start":
            self._start().start()
        elif op["op"] in ("gc", "evict", "detect"):
            self._do(op)
        else:
            node.apply(op)

    def _do(self, op):
        nested = []
        self._node.during_listing = list(op.get("mid", ()))
        self._node.detect = lambda: nested.append(_told(self._node.now, "detect", self._gc.detect()))
        begun = self._node.now
        run = {"gc": self._gc.collect, "evict": self._gc.evict, "detect": self._gc.detect}[op["op"]]()
        self.runs += [_told(begun, op["op"], run), *nested]

    def _loop(self):
        node, loops, ops = self._node, None, list(self._case["ops"])
        while True:
            due = loops.due if loops else _NEVER
            at = min(ops[0]["t"] if ops else _NEVER, due)
            if at > self._case["end"]:
                return
            node.now = max(node.now, at)
            if ops and ops[0]["t"] == at:
                op = ops.pop(0)
                if op["op"] == "start":
                    loops = Loops(self._start(), node.now, self._case["detect_delay"])
                elif op["op"] == "evict":
                    self._do(op)
                else:
                    node.apply(op)
                continue
            begun = node.now
            run, repeated_failure = loops.run()
            if run is not None:
                self.runs.append(_told(begun, "gc", run))
            if repeated_failure is not None:
                self.kubelet_events.append([node.now, "Warning", "ImageGCFailed", repeated_failure])


def _age(one: Candidate):
    return one.last_used is not None, one.last_used or 0, one.first_detected


def _told(begun, kind, run: Run):
    """A run in the form of the vectors."""
    told = {"t": begun, "run": kind, "error": run.error}
    if kind == "detect":
        return told
    ordered = sorted(run.candidates, key=lambda one: (*_age(one), one.key))
    fields = {
        "candidates": [[one.key, one.last_used, one.first_detected, one.size] for one in ordered],
        "used": sorted(run.used),
        "pinned": sorted(run.pinned),
        "age": run.age,
        "space": run.space,
        "removed": [list(one) for one in run.removed],
        "failed": run.failed,
        "events": sorted(map(list, run.events)),
        "left": run.kept,
    }
    told |= {name: value for name, value in fields.items() if value}
    numbers = {"usage": run.usage, "wanted": run.wanted, "freed": run.freed}
    told |= {name: value for name, value in numbers.items() if value is not None}
    return told | ({"hooked": True} if run.kept is not None else {})
