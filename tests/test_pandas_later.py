"""The commands do without pandas until they need it; a user's own program never comes to feel it."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from imgframe.cli import pandas_later

NODE = Path(__file__).parent.parent / "data" / "node"

ALONE = """
import sys
from imgframe import schema
from imgframe.cli.pandas_later import postponed
import pyarrow as pa
import pyarrow.compute as pc
with postponed():
    with postponed():
        pc.fill_null(pa.array([1, None]), 0)
    table = schema.table("ingests", {"node": ["a"], "offset": [1], "started_at": [1]})
assert "pandas" not in sys.modules, "pandas was imported"
assert not any(type(finder).__name__ == "_PandasFinder" for finder in sys.meta_path)
assert table["started_at"][0].as_py().value == 1  # imports pandas, as pyarrow always does
import pandas as pd
assert pa.array(pd.Series([1.0, None])).null_count == 1
assert pa.Table.from_pandas(pd.DataFrame({"a": [1]})).num_rows == 1
assert isinstance(pa.table({"a": [1]}).to_pandas(), pd.DataFrame)
assert isinstance(schema.to_frame(schema.empty("ingests")), pd.DataFrame)
"""

IN_BETWEEN = """
import pyarrow as pa
from imgframe.cli.pandas_later import postponed
with postponed():
    assert len(pa.array([1])) == 1
    import pandas as pd
    assert pa.array(pd.Series([1.0, None])).null_count == 1
assert pa.array(pd.Series([1.0, None])).null_count == 1
"""

UNKNOWN = """
import imgframe as imf
from imgframe import schema
from imgframe.cli.pandas_later import postponed
with postponed():
    table = schema.table("snapshots", {"node": ["a"] * 3, "key": ["k", None, "l"], "size": [1, None, 2]})
inv = imf.Inventory({"snapshots": table})
frame = inv.snapshots
assert inv.replace(snapshots=frame.assign(snapshotter="x")).arrow("snapshots")["size"].to_pylist() == [1, None, 2]
assert inv.replace(snapshots=frame.astype("object")).arrow("snapshots")["key"].to_pylist() == ["k", None, "l"]
"""

OTHERS = """
import imgframe as imf
inv = imf.collect("/nonexistent.sock", cache=False)
import pandas as pd, pyarrow as pa
assert pa.array([pd.NA, 1], from_pandas=True).null_count == 1
assert pa.array([pd.NaT, pd.Timestamp("2026-01-02")], from_pandas=True).null_count == 1
"""

COMMAND = """
import io, sys
from datetime import UTC, datetime
from imgframe import simulator
with simulator.node(images=5, seed=1, until=datetime(2026, 11, 23, tzinfo=UTC)) as node:
    from imgframe.cli import main
    assert "pandas" not in sys.modules
    sys.argv = ["imgframe", "images", "--all-namespaces", "--address", node.address]
    sys.stdout = io.TextIOWrapper(io.BytesIO())
    try:
        main()
    except SystemExit as done:
        assert not done.code
    sys.stdout.seek(0)
    assert "IMAGE" in sys.stdout.read()
    assert "pandas" not in sys.modules
"""

SAVED = f"""
import contextlib, io, sys
from imgframe.cli import app
for words in ("images", "images --format json", "nodes", "df -v", "show registry.example/ops/agent:1.9.3"):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        app([*words.split(), "--from", {str(NODE)!r}], standalone_mode=False)
    assert printed.getvalue()
    assert "pandas" not in sys.modules, words
"""


def run(code):
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_pyarrow_without_pandas_and_then_with_it():
    run(ALONE)


def test_pandas_imported_meanwhile_is_seen_at_once():
    run(IN_BETWEEN)


def test_unknown_values_of_frames_stay_unknown():
    run(UNKNOWN)


def test_a_program_that_collected_has_a_whole_pyarrow():
    run(OTHERS)


def test_a_command_imports_no_pandas():
    run(COMMAND)


def test_no_command_that_prints_tables_imports_pandas():
    run(SAVED)


def test_pyarrow_is_a_version_that_is_known_to_look_again():
    """What breaks otherwise: `imgframe images` still works, but imports pandas, and takes 0.5 to 1.4 s longer.

    With a newer pyarrow set ``TESTED`` to its major version: the tests above then say whether it looks again as before. If it
    does not, leave ``TESTED`` and find out what replaced ``pyarrow.lib._pandas_api``.
    """
    assert int(pa.__version__.partition(".")[0]) <= pandas_later.TESTED
    assert callable(pa.lib._pandas_api.__init__)


NEWER = """
import pyarrow as pa, sys
from imgframe.cli import pandas_later
pandas_later.TESTED = 1
finders = list(sys.meta_path)
with pandas_later.postponed():
    assert sys.meta_path == finders
    assert len(pa.array([1])) == 1
    assert "pandas" in sys.modules
"""


def test_the_private_parts_of_a_newer_pyarrow_are_not_touched():
    run(NEWER)


IMPORT = """
import sys
finders = list(sys.meta_path)
import imgframe
assert sys.meta_path == finders
assert "pandas" not in sys.modules
import pandas as pd
assert not hasattr(pd.DataFrame, "img")  # imgframe does not follow what others import
assert type(pd.__loader__).__name__ == "SourceFileLoader" == type(pd.__spec__.loader).__name__
imgframe.filter_tagged_images
assert hasattr(pd.DataFrame, "img")
"""

USED_BEFORE = """
import imgframe as imf
imf.errors, imf.NodeError, imf.NodeError
import pandas as pd
imf.NodeError
assert hasattr(pd.DataFrame, "img")
"""

FRAME = """
from imgframe import Inventory
inventory = Inventory({})
import pandas as pd
assert not hasattr(pd.DataFrame, "img")
assert inventory.images.img.tagged().empty
"""

BROKEN = """
import pathlib, sys, tempfile
folder = pathlib.Path(tempfile.mkdtemp())
(folder / "pandas.py").write_text("import imgframe; imgframe.errors; raise ImportError('broken installation')")
sys.path.insert(0, str(folder))
import imgframe
try:
    import pandas
except ImportError as error:
    assert "broken installation" in str(error)
sys.path.remove(str(folder))
import pandas
assert imgframe.Filter
assert hasattr(pandas.DataFrame, "img")
"""

TWICE = """
import sys, warnings
import imgframe
first = imgframe
for name in [name for name in sys.modules if name.partition(".")[0] == "imgframe"]:
    del sys.modules[name]
import imgframe
assert imgframe is not first
import pandas as pd
assert imgframe.Filter
assert hasattr(pd.DataFrame, "img")
assert not any(type(finder).__module__.startswith("imgframe") for finder in sys.meta_path)
"""


def test_importing_imgframe_leaves_no_trace_in_the_import_of_pandas():
    run(IMPORT)


def test_the_accessor_comes_with_the_next_use_of_a_name_used_before():
    run(USED_BEFORE)


def test_the_accessor_comes_with_the_first_frame():
    run(FRAME)


def test_pandas_that_fails_to_import_fails_as_ever_and_can_be_mended():
    run(BROKEN)


def test_pandas_comes_after_imgframe_was_loaded_twice():
    """As a notebook does that loads changed modules anew."""
    run(TWICE)
