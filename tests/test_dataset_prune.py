"""A dataset that forgets: what stays gives exactly what it gave, whoever else is at work and whenever the process dies."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from testbed.histories import HISTORIES, HOUR, START, State, appended, collected, stamp

import imgframe as imf
from imgframe import dataset
from imgframe.errors import InputError, SchemaError


def states(root, hours):
    opened = imf.open_dataset(root)
    return {at: State(opened.at(stamp(at))) for at in hours}


def stored(root, name):
    key = "manifest_digest" if name == "layers" else "digest"
    return [
        digest
        for file in root.glob(f"date=*/collection=*/{name}.parquet")
        for digest in set(pq.read_table(file)[key].to_pylist())
    ]


def of_file_system(root):
    return {
        file.relative_to(root).as_posix(): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def year(root):
    """Ten collections: c is read once only, b fails from 5 on, image 0 is seen first at 0 and needed at the end."""
    for at in range(10):
        seen = {"a": {0, at % 5 + 1}}
        if at == 2:
            seen["c"] = {6, 7}
        if at < 5:
            seen["b"] = {at % 3, 5}
        dataset.append(root, collected(24 * at, seen, failed=("b",) if at >= 5 else ()))


# --- what stays ------------------------------------------------------------------------------------------------------


def test_what_was_before_goes_and_what_later_ones_need_stays(tmp_path):
    year(tmp_path / "d")
    before = states(tmp_path / "d", range(24 * 7, 24 * 11, 12))
    made = dataset.prune(tmp_path / "d", before=stamp(24 * 8))
    days = [(one.collected_at - START) // HOUR // 24 for one in made.removed]
    assert days == [0, 1, 3, 5, 6, 7], "2 is all that is known of c, 4 of b"
    assert [(one.collected_at - START) // HOUR // 24 for one in made.carried] == [2, 4]
    assert states(tmp_path / "d", range(24 * 8, 24 * 11, 12)) == {
        at: state for at, state in before.items() if at >= 24 * 8
    }
    now = imf.open_dataset(tmp_path / "d").at()
    assert now.nodes.set_index("node")["collected_at"].to_dict() == {
        "a": stamp(24 * 9),
        "b": stamp(24 * 4),
        "c": stamp(24 * 2),
    }
    assert set(now.configs["digest"]) >= {"sha256:c0", "sha256:c6"}
    for name in ("configs", "documents", "layers"):
        digests = stored(tmp_path / "d", name)
        assert len(digests) == len(set(digests)), f"{name} are stored once"
    assert dataset.prune(tmp_path / "d", before=stamp(24 * 8)).removed == ()


def test_a_moment_that_was_pruned_is_refused_and_no_other(tmp_path):
    year(tmp_path / "d")
    whole = states(tmp_path / "d", [24 * 7, 24 * 7 + 5])
    dataset.prune(tmp_path / "d", before=stamp(24 * 7 + 6))
    assert states(tmp_path / "d", [24 * 7, 24 * 7 + 5]) == whole, "nothing was collected in between"
    opened = imf.open_dataset(tmp_path / "d")
    with pytest.raises(InputError, match=r"was pruned: .* has the state since 2023-11-21T00:00:00Z"):
        opened.at(stamp(24 * 7 - 1))
    with pytest.raises(InputError, match="was pruned"):
        opened.between(stamp(0)).at("2023-11-17")
    dataset.prune(tmp_path / "d", before="2100-01-01")
    assert len(imf.open_dataset(tmp_path / "d").collections) == 3, "the last of each node stays"
    assert imf.open_dataset(tmp_path / "d").at("2023-11-23").arrow("nodes").num_rows == 3
    dataset.prune(tmp_path / "d", before=stamp(0))
    with pytest.raises(InputError, match="was pruned"):
        imf.open_dataset(tmp_path / "d").at(stamp(24 * 8))


@pytest.mark.parametrize(
    "before",
    ["2023-11-17", stamp(72).date(), stamp(72), stamp(72).to_pydatetime(), "2023-11-17T01:00:00+01:00"],
)
def test_the_moment_is_given_as_at_takes_it(tmp_path, before):
    for at in range(5):
        dataset.append(tmp_path / "d", collected(24 * at, {"a": {at}}))
    made = dataset.prune(tmp_path / "d", before=before)
    assert [one.date for one in made.removed] == ["2023-11-14", "2023-11-15", "2023-11-16"]
    assert made.carried == ()


def test_what_is_no_moment_or_no_dataset_changes_nothing(tmp_path):
    with pytest.raises(SchemaError, match="no such folder"):
        dataset.prune(tmp_path / "none", before="2024-01-01")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").write_text("")
    with pytest.raises(SchemaError, match="not a dataset"):
        dataset.prune(tmp_path / "x", before="2024-01-01")
    assert [file.name for file in (tmp_path / "x").iterdir()] == ["mine"]
    year(tmp_path / "d")
    files = of_file_system(tmp_path / "d")
    with pytest.raises(InputError, match="2024-13-01"):
        dataset.prune(tmp_path / "d", before="2024-13-01T00:00:00Z")
    assert of_file_system(tmp_path / "d") == files
    (tmp_path / "d" / "pruned.json").write_text("{}")
    with pytest.raises(SchemaError, match="does not say since when"):
        imf.open_dataset(tmp_path / "d")


def test_a_dry_run_tells_what_happens_and_changes_nothing(tmp_path):
    year(tmp_path / "d")
    files = of_file_system(tmp_path / "d")
    would = dataset.prune(tmp_path / "d", before=stamp(24 * 8), dry_run=True)
    assert of_file_system(tmp_path / "d") == files
    assert dataset.prune(tmp_path / "d", before=stamp(24 * 8)) == would
    left = of_file_system(tmp_path / "d")
    size = sum(len(data) for name, data in files.items())
    assert would.bytes_freed == size - sum(len(data) for name, data in left.items() if name != "pruned.json")
    assert "6 collections" in repr(would)
    assert not [name for name in left if name.startswith((".new", ".gone"))]
    assert not [folder for folder in (tmp_path / "d").glob("date=*") if not any(folder.iterdir())]


def test_others_read_what_stays(tmp_path):
    year(tmp_path / "d")
    dataset.prune(tmp_path / "d", before=stamp(24 * 8))
    pattern = f"{tmp_path}/d/date=*/*/configs.parquet"
    (found,) = duckdb.sql(f"select count(distinct digest) from read_parquet('{pattern}')").fetchall()
    assert found[0] == imf.open_dataset(tmp_path / "d").table("configs")["digest"].nunique() > 5


def test_last_use_says_that_it_observed_nothing_where_a_prune_left_gaps(tmp_path):
    for at, seen in enumerate(({"a": {1}, "b": {1}}, {"a": {1}}, {"a": {1}}, {"a": {1}})):
        dataset.append(tmp_path / "d", collected(24 * at, seen))
    dataset.prune(tmp_path / "d", before=stamp(60))
    used = dataset.last_used(imf.open_dataset(tmp_path / "d")).set_index("node")
    assert used["not_observed_before"].to_dict() == {"a": stamp(48), "b": stamp(0)}
    assert used.loc["a", "first_seen"] == stamp(0)


def test_layers_with_their_chains_move_to_those_that_lack_them(tmp_path):
    for at, lacking in enumerate(((), (1,))):
        dataset.append(tmp_path / str(at), collected(24 * at, {"a": {1}}, lacking=lacking))
    root = tmp_path / "0"
    (lone,) = (tmp_path / "1").glob("date=*")
    lone.rename(root / lone.name)  # two processes appended at once: both stored their own
    dataset.prune(root, before=stamp(24))
    assert imf.open_dataset(root).at().layers["chain_id"].notna().all()
    assert set(imf.open_dataset(root).at().configs["digest"]) == {"sha256:c1"}


@settings(max_examples=25, deadline=None)
@given(history=HISTORIES, cuts=st.lists(st.integers(-1, 16).map(lambda n: 5 * n), min_size=1, max_size=3))
def test_at_gives_the_same_from_the_moment_on(history, cuts):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "d"
        hours = appended(root, history)
        assume(hours)
        moments = [at for at in (*hours, min(cuts), max(cuts) - 1, max(cuts), 90) if at >= hours[0]]
        before = states(root, moments)
        for cut in cuts:
            dataset.prune(root, before=stamp(cut))
        opened = imf.open_dataset(root)
        for at in moments:
            known = opened.pruned_before is None or stamp(at).value >= opened.pruned_before
            assert known or at < max(cuts)
            if known:
                assert State(opened.at(stamp(at))) == before[at]
        assert State(opened.at()) == before[90]
        needed = {one.path for part in opened.last(stamp(max(cuts)).value) for one in part.values()}
        assert all(
            one.collected_at >= stamp(max(cuts)).value or one.path in needed for one in opened.collections
        ), "nothing stays for nothing"
        dataset.append(root, collected(95, {"a": set(range(8))}))
        assert set(imf.open_dataset(root).at().configs["digest"]) >= {f"sha256:c{n}" for n in range(7)}


def test_the_failure_of_a_node_that_was_never_read_again_stays(tmp_path):
    for at, (seen, failed) in enumerate(
        [({"a": {1}, "b": {2}}, ()), ({"a": {1}}, "b"), ({"a": {1}}, ()), ({"a": {1}}, ())]
    ):
        dataset.append(tmp_path / "d", collected(at, seen, failed))
    made = dataset.prune(tmp_path / "d", before=stamp(3))
    assert [one.collected_at for one in made.removed] == [stamp(2).value]
    assert imf.open_dataset(tmp_path / "d").at().errors["message"].tolist() == ["at 1"]


def test_words_of_what_is_stored_are_in_no_file_again(tmp_path):
    for at, seen in enumerate(({"a": {1, 2, 3}}, {"a": {1, 2, 3}}, {"a": set()})):
        dataset.append(tmp_path / "d", collected(at, seen))
    _, again, empty = imf.open_dataset(tmp_path / "d").collections
    for name in ("configs", "history", "layers", "documents"):
        sizes = [(one.path / f"{name}.parquet").stat().st_size for one in (again, empty)]
        assert sizes[0] == sizes[1], name


def test_a_part_of_a_history_has_what_is_stored_with_the_rest(tmp_path):
    for at, seen in enumerate(({"a": {1, 2}}, {"a": {1, 3}})):
        dataset.append(tmp_path / "d", collected(at, seen))
    part = imf.open_dataset(tmp_path / "d").between(stamp(1))
    assert len(part.collections) == 1
    assert State(part.at()) == State(collected(1, {"a": {1, 3}}))


# --- ended at any step -----------------------------------------------------------------------------------------------


class _Dead(BaseException):
    """The process is gone: nothing that it would still do to the file system happens."""


_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "os.chmod"}


class _Death:
    """Ends the process at its n-th change to the file system, as an audit hook: no function of anybody is replaced."""

    def __init__(self):
        self.at = self.count = None
        sys.addaudithook(self)

    def __call__(self, event, args):
        if self.at is None or not (event in _CHANGES or (event == "open" and args[1] == "w")):
            return
        self.count += 1
        if self.count > self.at:
            raise _Dead(event)

    def after(self, changes, work):
        """Whether the work needed more changes than these, and died."""
        self.at, self.count = changes, 0
        try:
            work()
        except _Dead:
            return True
        finally:
            self.at = None
        return False


@pytest.fixture(scope="module")
def death():
    return _Death()


def test_ended_at_any_step_the_dataset_is_whole_and_the_next_prune_does_the_rest(tmp_path, death):
    for at, (seen, failed) in enumerate(
        [({"a": {0, 6}}, ()), ({"a": {1}, "b": {2}}, ()), ({"a": {3}}, ("b",)), ({"a": {0, 7}}, ("b",))]
    ):
        dataset.append(tmp_path / "d", collected(at, seen, failed))
    moments, cut = (3, 5), stamp(3)
    want = states(tmp_path / "d", moments)
    shutil.copytree(tmp_path / "d", tmp_path / "clean")
    assert [one.collected_at for one in dataset.prune(tmp_path / "clean", before=cut).removed] == [
        stamp(0).value,
        stamp(2).value,
    ]
    files = of_file_system(tmp_path / "clean")
    seen = set()
    for steps in range(1000):
        root = tmp_path / str(steps)
        shutil.copytree(tmp_path / "d", root)
        died = death.after(steps, lambda root=root: dataset.prune(root, before=cut))
        opened = imf.open_dataset(root)
        assert {at: State(opened.at(stamp(at))) for at in moments} == want, steps
        if len(opened.collections) < 4:
            assert opened.pruned_before == cut.value, "told before anything goes"
        if (len(opened.collections), opened.pruned_before) not in seen:
            seen.add((len(opened.collections), opened.pruned_before))
            shutil.copytree(root, tmp_path / "copy")
            dataset.append(tmp_path / "copy", collected(9, {"a": set(range(8))}))
            assert set(imf.open_dataset(tmp_path / "copy").at().configs["digest"]) == {
                f"sha256:c{n}" for n in range(7)
            }
            shutil.rmtree(tmp_path / "copy")
        dataset.prune(root, before=cut)
        assert of_file_system(root) == files, steps
        shutil.rmtree(root)
        if not died:
            break
    assert steps > 2 * 14, "every file that goes is a step"
    assert {count for count, _ in seen} == {4, 3, 2}


# --- beside others ---------------------------------------------------------------------------------------------------


def test_who_opened_it_before_is_State(tmp_path):
    year(tmp_path / "d")
    old = imf.open_dataset(tmp_path / "d")
    dataset.prune(tmp_path / "d", before=stamp(24 * 8))
    for ask in (
        old.at,
        lambda: old.at(stamp(24 * 3)),
        lambda: old.table("images"),
        lambda: imf.capacity.growth(old),
        lambda: dataset.last_used(old),
    ):
        with pytest.raises(SchemaError, match="the dataset was pruned after it was opened; open it again"):
            ask()


_CHILD = """
import sys
from testbed import histories as here
from imgframe import dataset

def stop(event, args):
    if event == "os.rename" and {stop!r} in str(args[0]):
        print("there", flush=True)
        sys.stdin.readline()

{work}
"""


def child(work, stop, tmp_path):
    """A process that says ``there`` before it renames what is called ``stop``, and goes on when it is told to."""
    code = _CHILD.format(stop=stop, work=work)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )


def refused(root, how):
    """Whether somebody holds the lock against it."""
    with (root / ".lock").open("r+") as file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_prune_waits_for_an_append_that_counts_on_what_would_go(tmp_path):
    root = tmp_path / "d"
    dataset.append(root, collected(0, {"a": {1, 2}}))
    dataset.append(root, collected(24, {"a": {2}}))
    work = f"sys.addaudithook(stop); dataset.append({str(root)!r}, here.collected(48, {{'a': {{1}}}}))"
    with child(work, ".new.", tmp_path) as writer:
        assert writer.stdout.readline() == "there\n", "its files are written, without the config that 0 holds"
        assert refused(root, fcntl.LOCK_EX), "no prune now"
        assert not refused(root, fcntl.LOCK_SH), "but others may append"
        more = f"sys.addaudithook(stop); dataset.prune({str(root)!r}, before=here.stamp(24)); print('done')"
        with child(more, "no such", tmp_path) as pruner:
            dataset.append(root, collected(72, {"b": {3}}))
            writer.stdin.write("\n")
            writer.stdin.close()
            assert writer.wait() == 0
            assert pruner.stdout.readline() == "done\n"
    opened = imf.open_dataset(root)
    assert [one.collected_at for one in opened.collections] == [stamp(at).value for at in (24, 48, 72)]
    assert set(opened.at().configs["digest"]) == {"sha256:c1", "sha256:c3"}
    assert State(opened.at(stamp(48))) == State(collected(48, {"a": {1}}))


def test_an_append_waits_for_a_prune_and_stores_what_went(tmp_path):
    root = tmp_path / "d"
    dataset.append(root, collected(0, {"a": {1, 2}}))
    dataset.append(root, collected(24, {"a": {2}}))
    work = f"sys.addaudithook(stop); dataset.prune({str(root)!r}, before=here.stamp(24))"
    with child(work, "collection=", tmp_path) as pruner:
        assert pruner.stdout.readline() == "there\n", "it knows what goes, and begins"
        assert refused(root, fcntl.LOCK_SH), "no append now"
        pruner.send_signal(signal.SIGKILL)
        assert pruner.wait() == -signal.SIGKILL
    assert len(imf.open_dataset(root).collections) == 2, "killed before the first rename"
    with child(work, "collection=", tmp_path) as pruner:
        assert pruner.stdout.readline() == "there\n"
        more = f"dataset.append({str(root)!r}, here.collected(48, {{'a': {{1}}}})); print('done')"
        with child(more, "no such", tmp_path) as writer:
            pruner.stdin.write("\n")
            pruner.stdin.close()
            assert pruner.wait() == 0
            assert writer.stdout.readline() == "done\n"
    assert State(imf.open_dataset(root).at()) == State(collected(48, {"a": {1}}))
    assert sorted(entry.name for entry in root.iterdir() if "date=" not in entry.name) == [
        ".lock",
        "pruned.json",
    ]
