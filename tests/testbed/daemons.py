"""Real containerd daemons for tests: each with its own root, state and socket, started on first use, gone at the end."""

import contextlib
import functools
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import grpc

from testbed import debian, golang_builds

# the suites of Debian and what they ship; the last moves on with Debian's unstable
SUITE_OF = {"1.6": "bookworm", "1.7": "trixie", "2.1": "sid"}
RELEASES = (*SUITE_OF, *golang_builds.VERSION_OF)
# whose own transfer speaks plain HTTP too, and is what a pull takes if left to choose
OWN_TRANSFER = tuple(release for release in RELEASES if not release.startswith("1."))
# what `make test` runs everything on; the others have `make test-releases`, the soak and tests marked every_release
DEFAULT_RELEASES = ("1.7", "2.1", "2.4")

START_SECONDS = 150.0

# what needs other daemons, kernel modules or places outside our folder
_DISABLED = (
    *("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"),
    *(
        "io.containerd.snapshotter.v1.aufs",
        "io.containerd.snapshotter.v1.btrfs",
        "io.containerd.snapshotter.v1.zfs",
    ),
    *("io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.blockfile"),
    *("io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"),
    *("io.containerd.tracing.processor.v1.otlp", "io.containerd.podsandbox.controller.v1.podsandbox"),
    "io.containerd.grpc.v1.sandbox-controllers",
)

_names = itertools.count(1)


def program(name: str, release: str) -> str:
    """The absolute path of containerd or ctr of a release; fetched or built the first time."""
    if release in SUITE_OF:
        return debian.program(name, SUITE_OF[release])
    return str(golang_builds.programs(release) / name)


def environment(release: str) -> dict[str, str]:
    """The environment in which the programs of a release run."""
    if release in SUITE_OF:
        return debian.environment(SUITE_OF[release])
    return golang_builds.environment(release)


class CtrError(Exception):
    """A `ctr` call failed; the text is what it said."""


@functools.cache
def home() -> Path:
    """Where daemons keep their roots: memory where an overlay can be mounted on it, else the temporary folder.

    containerd waits for the disk after each commit; on tmpfs the 3,200 blobs of a generated store take seconds.
    """
    shm = Path("/dev/shm")
    if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 2 << 30 and _overlay_works(shm):
        return shm
    return Path(tempfile.gettempdir())


def _overlay_works(folder: Path) -> bool:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for sub in "luwm":
            (Path(name) / sub).mkdir()
        options = f"lowerdir={name}/l,upperdir={name}/u,workdir={name}/w"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, f"{name}/m"]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            return False
        subprocess.run(["umount", f"{name}/m"], check=True)
        return True


class Daemon:
    """One containerd, started by the constructor and stopped by `stop()` or at the end of a `with`.

    `address` is its gRPC socket, `root` its root folder, `version` what it says of itself. `folder` may be given to
    keep the store elsewhere (on a disk, say); the store is removed with the daemon. ``config`` is added to its
    configuration, and the plugins `without` are switched off.
    """

    def __init__(
        self,
        release: str = RELEASES[-1],
        *,
        parent: Path | None = None,
        config: str = "",
        without: tuple[str, ...] = (),
    ) -> None:
        self.release = release
        # the tag is for container ids as well: runc and cgroups keep theirs machine-wide
        self.tag = secrets.token_hex(4)
        self.folder = (parent or home()) / f"imgf-{self.tag}"
        self.folder.mkdir(mode=0o700)
        self.root = self.folder / "root"
        self.state = self.folder / "state"
        self.socket = self.folder / "c.sock"
        self.address = f"unix://{self.socket}"
        self.log = self.folder / "log"
        self.environment = environment(release)
        self.process: subprocess.Popen | None = None
        (self.folder / "config.toml").write_text(self._config(without) + config)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<containerd {self.release} at {self.socket}>"

    def _config(self, without: tuple[str, ...]) -> str:
        disabled = ", ".join(f'"{name}"' for name in (*_DISABLED, *without))
        return (
            f'version = 2\nroot = "{self.root}"\nstate = "{self.state}"\noom_score = 0\n'
            f'disabled_plugins = [{disabled}]\n[grpc]\n  address = "{self.socket}"\n'
        )

    def start(self) -> None:
        """Starts the daemon and waits until it answers; also after `kill()`."""
        assert self.process is None or self.process.poll() is not None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                # the kernel ends the daemon when pytest is gone, however it went
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    "--",
                    program("containerd", self.release),
                    "--config",
                    str(self.folder / "config.toml"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment | {"TMPDIR": str(self.folder)},
                start_new_session=True,
            )
        self.version = self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> str:
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
        deadline = time.monotonic() + START_SECONDS
        with grpc.insecure_channel(
            f"unix:{self.socket}", options=[*options, ("grpc.enable_http_proxy", 0)]
        ) as channel:
            ask = channel.unary_unary("/containerd.services.version.v1.Version/Version")
            while time.monotonic() < deadline:
                assert self.process is not None
                if self.process.poll() is not None:
                    break
                try:
                    reply = ask(b"", timeout=2, wait_for_ready=True)
                except grpc.RpcError:
                    continue
                return reply[2 : 2 + reply[1]].decode()  # the first field: version
        raise AssertionError(f"containerd {self.release} does not answer:\n{self.log_text()[-3000:]}")

    def log_text(self) -> str:
        """What the daemon wrote so far."""
        return self.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Process id of the running daemon."""
        assert self.process is not None
        return self.process.pid

    @property
    def numbers(self) -> tuple[int, ...]:
        """The release as numbers that compare."""
        return tuple(map(int, self.release.split(".")))

    def kill(self) -> None:
        """SIGKILL, as a crash would: the socket stays, the store stays; `start()` brings it back."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """An orderly stop and a start on the same store."""
        self._end(signal.SIGTERM)
        self.start()

    def upgrade(self, release: str) -> None:
        """An orderly stop and a start of another release on the same store."""
        self._end(signal.SIGTERM)
        self.release = release
        self.environment = environment(release)
        self.start()

    def _end(self, sign: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(sign)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)

    def stop(self) -> None:
        """Ends the daemon, its containers and its mounts, and removes the store."""
        with contextlib.suppress(CtrError, subprocess.TimeoutExpired, AssertionError):
            self._end_tasks()
        self._end(signal.SIGTERM)
        for point in sorted(_mounts_below(self.folder), reverse=True):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_tasks(self) -> None:
        """Containers outlive a daemon that was killed: it is started again to end them."""
        if not _mentioned_by_shim(str(self.socket)):
            return
        if self.process is None or self.process.poll() is not None:
            self.start()
        for namespace in self.ctr("namespaces", "ls", "-q", namespace=None).split():
            for task in self.ctr("tasks", "ls", "-q", namespace=namespace).split():
                self.ctr("tasks", "delete", "--force", task, namespace=namespace)

    def new_namespace(self, stem: str = "t") -> str:
        """A namespace name that no other test uses (containerd makes it with the first write)."""
        return f"{stem}-{os.getpid()}-{next(_names)}"

    def ctr(self, *arguments: object, namespace: str | None = "default", timeout: float = 280) -> str:
        """What this version's own `ctr` prints; raises CtrError with its words when it fails."""
        done = self.ctr_process(*arguments, namespace=namespace, timeout=timeout)
        if done.returncode:
            raise CtrError(f"ctr {' '.join(map(str, arguments))}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def ctr_process(
        self,
        *arguments: object,
        namespace: str | None = "default",
        timeout: float = 280,
        stdin: bytes | None = None,
    ) -> subprocess.CompletedProcess:
        """The finished `ctr` process, whatever its exit code."""
        done = subprocess.run(
            self.ctr_command(*arguments, namespace=namespace),
            env=self.environment,
            capture_output=True,
            timeout=timeout,
            check=False,
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
        )
        done.stdout, done.stderr = (
            text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr)
        )
        return done

    def ctr_command(self, *arguments: object, namespace: str | None = "default") -> list[str]:
        """The command line of this version's `ctr` against this daemon."""
        chosen = ["--namespace", namespace] if namespace is not None else []
        return [program("ctr", self.release), "--address", str(self.socket), *chosen, *map(str, arguments)]

    def delete_namespace(self, namespace: str) -> None:
        """Removes everything a namespace holds, then the namespace."""
        for snapshotter in ("overlayfs", "native"):
            self._remove_snapshots(namespace, snapshotter)
        for kind in ("images", "content"):
            if names := self.ctr(kind, "ls", "-q", namespace=namespace).split("\n")[:-1]:
                self.ctr(kind, "rm", *names, namespace=namespace)
        self.ctr("namespaces", "rm", namespace, namespace=None)

    def _remove_snapshots(self, namespace: str, snapshotter: str) -> None:
        lines = self.ctr("snapshots", "--snapshotter", snapshotter, "ls", namespace=namespace).splitlines()[
            1:
        ]
        parents = {fields[0]: (fields[1] if len(fields) > 2 else "") for fields in map(str.split, lines)}
        while leaves := parents.keys() - set(parents.values()):
            self.ctr("snapshots", "--snapshotter", snapshotter, "rm", *sorted(leaves), namespace=namespace)
            parents = {key: parent for key, parent in parents.items() if key not in leaves}


def _mentioned_by_shim(socket: str) -> bool:
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = command.read_bytes().decode(errors="replace").split("\0")
            if "containerd-shim" in words[0] and socket in words:
                return True
    return False


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [point for point in (line.split()[1] for line in lines) if point.startswith(f"{folder}/")]
