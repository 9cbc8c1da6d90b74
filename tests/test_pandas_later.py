"""pyarrow does without pandas until pandas is imported, and then works with it as ever."""

import subprocess
import sys

ALONE = """
import sys
from imgframe import schema
import pyarrow as pa
import pyarrow.compute as pc
pc.fill_null(pa.array([1, None]), 0)
schema.table("ingests", {"node": ["a"], "offset": [1]})
assert "pandas" not in sys.modules, "pandas was imported"
assert not any(type(finder).__name__ == "_NotNow" for finder in sys.meta_path)
import pandas as pd
assert pa.array(pd.Series([1.0, None])).null_count == 1
assert pa.Table.from_pandas(pd.DataFrame({"a": [1]})).num_rows == 1
assert isinstance(pa.table({"a": [1]}).to_pandas(), pd.DataFrame)
assert isinstance(schema.to_frame(schema.empty("ingests")), pd.DataFrame)
"""

IN_A_THREAD = """
import threading, sys
found = []
def importer():
    import pandas
    found.append(pandas)
threads = [threading.Thread(target=importer) for _ in range(2)]
from imgframe import schema
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 2
import pyarrow as pa, pandas as pd
assert pa.array(pd.Series([1.0, None])).null_count == 1
"""


def run(code):
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_pyarrow_without_pandas_and_then_with_it():
    run(ALONE)


def test_several_threads_may_import_pandas():
    run(IN_A_THREAD)


def test_a_collection_imports_no_pandas():
    run(
        "import sys, imgframe as imf; imf.collect('/nonexistent.sock', cache=False); assert 'pandas' not in sys.modules"
    )
