"""The demo: what it predicts is what it sees, and the files are where it says."""

import re
import subprocess
import sys

import imgframe as imf


def test_the_demo_predicts_what_it_frees_and_leaves_its_files(tmp_path):
    arguments = ["--nodes", "3", "--days", "45", "--every", "15"]
    done = subprocess.run(
        [sys.executable, "-m", "imgframe.cli", "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    ways = re.findall(
        r"^ +(predicted by the plan|observed by apply|collected before - after) +([\d,]+)$",
        done.stdout,
        re.MULTILINE,
    )
    assert len(ways) == 3
    assert len({size for _, size in ways}) == 1
    freed = int(ways[0][1].replace(",", ""))
    assert freed > 0
    folder = tmp_path / "demo-report"
    assert "Open demo-report/report/index.html" in done.stdout
    assert (folder / "report" / "index.html").is_file()
    plan = imf.open_plan(folder / "plan")
    assert plan.freed.total_bytes == freed
    before = imf.open_inventory(folder / "inventory")
    history = imf.open_dataset(folder / "history")
    assert len(history.collections) == 4
    assert len(before.images) - len(history.at().images) == len(plan.steps)
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo-report"]
    assert len(done.stdout.splitlines()) < 60
    assert max(map(len, done.stdout.splitlines())) < 140
