"""The public names are typed: two type checkers find mistakes, an editor completes; the stub is what the tables say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jedi

import imgframe as imf
from imgframe import schema

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "tests" / "typing"
MARKED = sorted(
    (path.name, number)
    for path in SAMPLES.glob("*.py")
    for number, line in enumerate(path.read_text().splitlines(), 1)
    if line.endswith("# error")
)


def run(*words):
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=500, check=False
    )


def test_mypy_reports_every_wrong_line_and_no_other():
    told = run(
        "-m",
        "mypy",
        "--config-file=",
        "--cache-dir=.mypy_cache/samples",
        "--ignore-missing-imports",
        str(SAMPLES),
    )
    found = re.findall(r"typing/(\w+\.py):(\d+): error", told.stdout)
    assert sorted({(name, int(line)) for name, line in found}) == MARKED, told.stdout + told.stderr


def test_pyright_reports_every_wrong_line_and_no_other(tmp_path):
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps({"include": [str(SAMPLES)], "typeCheckingMode": "standard"}))
    told = run("-m", "basedpyright", "--project", str(config), "--pythonpath", sys.executable, "--outputjson")
    errors = [one for one in json.loads(told.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    found = {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in errors}
    assert sorted(found) == MARKED, told.stdout + told.stderr


def test_an_editor_completes_the_names_the_tables_and_their_frames():
    def completed(code):
        return {one.name for one in jedi.Script(code, path=ROOT / "tests" / "typed.py").complete()}

    assert set(imf.__all__) <= completed("import imgframe as imf\nimf.")
    assert set(schema.TABLES) <= completed("import imgframe as imf\nimf.collect().")
    assert {"groupby", "columns"} <= completed("import imgframe as imf\nimf.collect().images.")


def test_the_stub_is_what_the_tables_of_names_say():
    told = run("tools/stub.py", "--check")
    assert told.returncode == 0, told.stdout + told.stderr
