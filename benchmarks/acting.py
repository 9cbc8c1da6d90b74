"""Pull, push and ensure beside ``ctr`` on the same daemon, run in turn; ratios of the medians."""

from __future__ import annotations

import hashlib
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import imgframe as imf
from imgframe import simulator

MIB = 1 << 20
LAYERS, LAYER = 8, 50 * MIB
SMALL, SMALL_SIZE = 20, 6 * MIB
HUGE = 2048 * MIB
RUNS = 2


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def applied(plan: imf.Plan) -> imf.Result:
    result = plan.apply(progress=False)
    result.raise_for_errors()
    return result


def in_turn(
    title: str,
    limit: float,
    ours: Callable[[int], Any],
    theirs: Callable[[int], Any],
    runs: int = RUNS,
    after: Callable[[], Any] = lambda: None,
) -> None:
    """Prints medians of alternating runs and their ratio; ``after`` each run, outside of the clock."""
    mine, other = [], []
    for run in range(runs):
        for found, call in ((mine, ours), (other, theirs)):
            found.append(seconds(lambda run=run, call=call: call(run)))
            after()
    a, b = statistics.median(mine), statistics.median(other)
    spread = f"[{min(mine):.2f}-{max(mine):.2f} / {min(other):.2f}-{max(other):.2f}]"
    print(f"{title:44} {a:7.2f} s  ctr {b:7.2f} s  ratio {a / b:5.2f} (<= {limit})  {spread}", flush=True)


def alone(title: str, limit: float, call: Callable[[], Any], runs: int = RUNS) -> None:
    """Prints the median of a few runs."""
    found = statistics.median(seconds(call) for _ in range(runs))
    print(f"{title:44} {found:7.3f} s  (<= {limit} s)", flush=True)


def made(seed: str, layers: int, size: int) -> Any:
    """An image of random layers."""
    from testbed import images

    rng = random.Random(seed)
    parts = [images.layer([images.file(f"data/{n}", rng.randbytes(size))]) for n in range(layers)]
    return images.image(parts, labels={"seed": seed})


class Bench:
    """A daemon, a registry, and names that no other run has used."""

    def __init__(self, daemon: Any, registry: Any) -> None:
        self.daemon, self.registry = daemon, registry

    def ours(self, names: list[str] | str, namespace: str, **options: Any) -> imf.Result:
        return applied(imf.pull(names, self.daemon.address, namespace=namespace, **options))

    def theirs(self, name: str, namespace: str) -> None:
        self.daemon.ctr("images", "pull", "--plain-http", name, namespace=namespace)

    def drop(self, *namespaces: str) -> None:
        """Frees what the runs left, so that nothing is shared between them."""
        for namespace in namespaces:
            names = self.daemon.ctr("images", "ls", "-q", namespace=namespace).split()
            self.daemon.ctr("images", "rm", "--sync", *names, namespace=namespace)

    def large(self) -> str:
        name = f"{self.registry.host}/bench/large:1"
        self.registry.push("bench/large", "1", made("large", LAYERS, LAYER))
        in_turn(
            f"pull 400 MB, 8 layers, {self.daemon.release}",
            1.1,
            lambda _: self.ours(name, "run"),
            lambda _: self.theirs(name, "run"),
            RUNS + 1,
            lambda: self.drop("run"),
        )
        return name

    def unpacking(self, name: str) -> None:
        for one in ("u", "v"):
            for run in range(RUNS):
                self.ours(name, f"{one}{run}", unpack=False)
        in_turn(
            "unpack 400 MB, content there",
            1.1,
            lambda run: applied(imf.ensure(name, self.daemon.address, namespace=f"u{run}", mode="never")),
            lambda run: self.theirs(name, f"v{run}"),
        )
        for via in ("client", None):
            alone(
                f"everything there, via {via or 'what serves best'}",
                0.2,
                lambda via=via: self.ours(name, "u0", via=via),
            )
        alone(
            "everything there, ensure",
            0.2,
            lambda: applied(imf.ensure(name, self.daemon.address, namespace="u0")),
        )

    def pushing(self, name: str) -> None:
        inventory = imf.collect(self.daemon.address, namespaces=["u0"], usage="none", progress=False)

        from testbed.registries import Registry

        with Registry() as first, Registry() as second, Registry() as third, Registry() as fourth:
            places = [(first, second), (third, fourth)]
            in_turn(
                "push 400 MB",
                1.1,
                lambda run: applied(
                    imf.push(inventory.images, inventory, to={name: f"{places[run][0].host}/large:1"})
                ),
                lambda run: self.daemon.ctr(
                    "images", "push", "--plain-http", f"{places[run][1].host}/large:1", name, namespace="u0"
                ),
                runs=2,
            )
            plan = imf.push(inventory.images, inventory, to={name: f"{first.host}/large:1"})
            alone("push, nothing to upload", 0.3, lambda: applied(plan))
        self.drop(*(f"{one}{run}" for one in ("u", "v") for run in range(RUNS)))

    def small(self) -> None:
        for number in range(SMALL):
            self.registry.push(f"bench/small{number}", "1", made(f"small {number}", 3, SMALL_SIZE // 3))
        names = [f"{self.registry.host}/bench/small{number}:1" for number in range(SMALL)]

        def theirs(_: int) -> None:
            for name in names:
                self.theirs(name, "run")

        in_turn(
            f"20 images of 6 MB, {self.daemon.release}",
            0.6,
            lambda _: self.ours(names, "run"),
            theirs,
            after=lambda: self.drop("run"),
        )

    def fifty_nodes(self) -> None:
        names = []
        for number in range(SMALL):
            self.registry.push(f"bench/tiny{number}", "1", made(f"tiny {number}", 2, 20_000))
            names.append(f"{self.registry.host}/bench/tiny{number}:1")
        with simulator.fleet(50, days=1) as fleet:

            def ensure() -> None:
                applied(imf.ensure(names, fleet.nodes, namespace="bench", via="client", unpack=False))

            print(
                f"{'ensure 20 images on 50 simulated nodes':44} {seconds(ensure):7.2f} s  (<= 30 s)",
                flush=True,
            )
            print(f"{'the same again, everything there':44} {seconds(ensure):7.2f} s  (<= 5 s)", flush=True)


MEASURED = """
import sys
import imgframe as imf
def memory(name):  # of this process alone; getrusage counts the one that forked it too
    (line,) = [line for line in open("/proc/self/status") if line.startswith(name)]
    return int(line.split()[1]) // 1024
small, large, address = sys.argv[1:]
imf.pull(small, address, namespace="memory", via="client", unpack=False).apply(progress=False).raise_for_errors()
idle = memory("VmRSS")
imf.pull(large, address, namespace="memory", via="client", unpack=False).apply(progress=False).raise_for_errors()
print(memory("VmHWM") - idle)
"""


@contextmanager
def huge_registry() -> Iterator[str]:
    """A registry with one image of one layer of 2 GB, which is made as it is sent."""
    block = random.Random(1).randbytes(MIB)
    digest = hashlib.sha256()
    for _ in range(HUGE // MIB):
        digest.update(block)
    layer = f"sha256:{digest.hexdigest()}"
    config = json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [layer]}}
    ).encode()
    kind = "application/vnd.oci.image"

    def described(media_type: str, name: str, size: int) -> dict[str, Any]:
        return {"mediaType": f"{kind}.{media_type}", "digest": name, "size": size}

    config_digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": described("config.v1+json", config_digest, len(config)),
            "layers": [described("layer.v1.tar", layer, HUGE)],
        }
    ).encode()
    manifest_digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            body = {"1": manifest, manifest_digest: manifest, config_digest: config}.get(name)
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}.manifest.v1+json")
            self.send_header("Docker-Content-Digest", manifest_digest)
            self.send_header("Content-Length", str(HUGE if body is None else len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            for _ in range(HUGE // MIB if body is None else 1):
                self.wfile.write(block if body is None else body)

        do_HEAD = do_GET  # noqa: N815 -- the name that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def memory(bench: Bench) -> None:
    small = f"{bench.registry.host}/bench/small0:1"
    with huge_registry() as host:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, small, f"{host}/huge:1", bench.daemon.address],
            capture_output=True,
            text=True,
            check=True,
        )
        took = time.perf_counter() - start
    print(
        f"{'memory above idle during a layer of 2 GB':44} {int(done.stdout):5d} MiB  (<= 150 MiB, {took:.1f} s)",
        flush=True,
    )
    bench.drop("memory")


def main() -> None:
    """Everything in turn, on containerd 2.1 and 1.7 and one registry on loopback."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from testbed.daemons import Daemon
    from testbed.registries import Registry

    with Registry() as registry:
        for release in ("2.1", "1.7"):  # containerd's own Transfer; as a client
            with Daemon(release) as daemon:
                bench = Bench(daemon, registry)
                registry.push("bench/first", "1", made("first", 1, 1000))
                bench.ours(f"{registry.host}/bench/first:1", "first")  # what is imported once is not measured
                name = bench.large()
                bench.small()
                if release == "1.7":
                    bench.unpacking(name)
                    bench.pushing(name)
                    memory(bench)
                    bench.fifty_nodes()


if __name__ == "__main__":
    main()
