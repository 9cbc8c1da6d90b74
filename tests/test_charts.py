"""Charts: what they show is what the frame says, and they look as they did when somebody looked.

The pictures are in tests/data/charts; ``IMGFRAME_NEW_PICTURES=1 pytest tests/test_charts.py`` draws them anew, to be looked at.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import imgframe as imf
from imgframe import charts
from imgframe.dataset.diff import KINDS
from imgframe.errors import InputError, MissingColumn

PICTURES = Path(__file__).parent / "data" / "charts"
NOW = pd.Timestamp("2026-11-23", tz="UTC")


def repositories(count):
    rng = np.random.default_rng(count)
    unique, shared = (rng.pareto(1.2, count) * 2e8).astype(int), (rng.pareto(1.4, count) * 1e8).astype(int)
    names = [f"registry.example/team-{at % 7}/a-service-with-a-long-name-{at}" for at in range(count)]
    return pd.DataFrame(
        {
            "repository": names,
            "unique_bytes": unique,
            "shared_bytes": shared,
            "physical_bytes": unique + shared,
        }
    )


def matrix(count):
    values = np.random.default_rng(count).integers(0, 5 * 10**8, (count, count))
    names = [f"img-{at}:latest" for at in range(count)]
    return pd.DataFrame((values + values.T) // 2, index=names, columns=names)


def nodes(count=12):
    rng = np.random.default_rng(5)
    columns = {
        name: rng.integers(1, 9 * 10**10, count)
        for name in ("unique_bytes", "shared_bytes", "reclaimable_bytes")
    }
    return pd.DataFrame({"node": [f"node-{at}" for at in range(count)], **columns})


def over_time(count):
    rng = np.random.default_rng(2)
    times = pd.date_range("2026-08-01", periods=90, tz="UTC")
    used = [(np.cumsum(rng.gamma(3, 1e9, 90)) % (9e10 + at * 1e10) + 2e10).astype(int) for at in range(count)]
    return pd.concat(
        [
            pd.DataFrame({"collected_at": times, "node": f"node-{at}", "total_bytes": used[at]})
            for at in range(count)
        ]
    )


def forecast():
    days = {"days_to_threshold": [30.0], "days_to_threshold_low": [20.0], "days_to_threshold_high": [50.0]}
    return pd.DataFrame({"node": ["node-0"], "threshold_bytes": [2 * 10**11], **days})


def images(count):
    rng = np.random.default_rng(8)
    created = NOW - pd.to_timedelta(rng.exponential(60, count), unit="D")
    return pd.DataFrame(
        {
            "created_at": created,
            "unique_size": (rng.pareto(1, count) * 1e7).astype(int),
            "containers": rng.integers(0, 2, count),
            "used_by_digest": False,
        }
    )


def changes(count=300):
    rng = np.random.default_rng(4)
    kinds = ["added", "removed", "retagged", "use began", "use ended", "unpacked"]
    return pd.DataFrame(
        {
            "date": rng.choice([f"2026-10-{day:02d}" for day in range(1, 31)], count),
            "change": rng.choice(kinds, count),
        }
    )


STEPS = pd.DataFrame(
    {
        "step": ["before", "older than 30 days", "dangling", "held by leases", "after"],
        "bytes": [90, -20, -12, -6, 58],
        "kind": ["total", "freed", "freed", "held", "total"],
    }
).assign(bytes=lambda f: f["bytes"] * 10**9)
COPIES = pd.DataFrame(
    {
        "repository": ["base/a", "base/b"],
        "copies": [3, 9],
        "one_bytes": [5 * 10**8, 10**8],
        "duplicate_bytes": [10**9, 8 * 10**8],
    }
)

DRAWN = {
    "bars-6": lambda **o: charts.usage_by_repository(repositories(6), **o),
    "bars-600": lambda **o: charts.usage_by_repository(repositories(600), **o),
    "bars-none": lambda **o: charts.usage_by_repository(repositories(0), **o),
    "treemap-6": lambda **o: charts.treemap(repositories(6), **o),
    "treemap-600": lambda **o: charts.treemap(repositories(600), **o),
    "sharing": lambda **o: charts.layer_sharing(matrix(8), **o),
    "sharing-60": lambda **o: charts.layer_sharing(matrix(60), **o),
    "fleet": lambda **o: charts.fleet(nodes(), **o),
    "duplicates": lambda **o: charts.duplicates(COPIES, **o),
    "growth": lambda **o: charts.growth(over_time(9), **o),
    "growth-forecast": lambda **o: charts.growth(over_time(1), forecast(), **o),
    "age": lambda **o: charts.age_against_size(images(500), now=NOW, **o),
    "waterfall": lambda **o: charts.waterfall(STEPS, **o),
    "timeline": lambda **o: charts.timeline(changes(), **o),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", DRAWN)
def test_looks_as_it_did(name, theme, tmp_path):
    file, known = tmp_path / "new.png", PICTURES / f"{name}-{theme}.png"
    DRAWN[name](theme=theme).figure.savefig(file, dpi=50)
    if os.environ.get("IMGFRAME_NEW_PICTURES"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        Image.open(file).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE).save(
            known, optimize=True
        )
    new, old = (np.asarray(Image.open(path).convert("RGB"), dtype=float) for path in (file, known))
    assert abs(new.shape[0] - old.shape[0]) <= 4
    assert abs(new.shape[1] - old.shape[1]) <= 4
    high, wide = min(new.shape[0], old.shape[0]), min(new.shape[1], old.shape[1])
    assert np.sqrt(((new[:high, :wide] - old[:high, :wide]) ** 2).mean()) < 16


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda: charts.usage_by_repository(repositories(0)), "No images"),
        (lambda: charts.treemap(repositories(0)), "No bytes"),
        (lambda: charts.layer_sharing(matrix(0)), "nothing is shared"),
        (lambda: charts.fleet(nodes(0)), "No nodes"),
        (lambda: charts.duplicates(COPIES[:0]), "Nothing is on more than one node"),
        (lambda: charts.growth(over_time(1)[:0]), "No collections yet"),
        (lambda: charts.age_against_size(images(0)), "No image"),
        (lambda: charts.waterfall(STEPS[:0]), "no steps"),
        (lambda: charts.timeline(changes(0)), "Nothing changed"),
    ],
)
def test_empty_data_gives_a_sentence(draw, sentence):
    ax = draw()
    assert sentence in " ".join(text.get_text() for text in ax.texts)


def test_the_rest_is_grouped_and_said_so():
    frame = repositories(600)
    ax = charts.usage_by_repository(frame)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[-1] == "581 others"
    widths = {}
    for bar in ax.patches:
        widths[round(bar.get_y(), 3)] = widths.get(round(bar.get_y(), 3), 0) + bar.get_width()
    assert sum(widths.values()) == pytest.approx(frame[["unique_bytes", "shared_bytes"]].to_numpy().sum())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_kind_of_change_looks_different_and_no_bar_touches_the_frame(theme):
    frame = pd.DataFrame({"date": ["2026-01-01"] * len(KINDS), "change": KINDS})
    ax = charts.timeline(frame, theme=theme)
    looks = {(bar.get_facecolor(), bar.get_hatch()) for bar in ax.patches}
    assert len(looks) == len(KINDS)
    low, high = ax.get_ylim()
    ends = [end for bar in ax.patches for end in (bar.get_y(), bar.get_y() + bar.get_height())]
    assert low < min(ends) < 0 < max(ends) < high


def test_thresholds_have_the_colour_of_no_line():
    ax = charts.growth(over_time(6), forecast())
    drawn = {line.get_color() for line in ax.lines if line.get_label() != "GC threshold"}
    assert len(drawn) == 6
    (threshold,) = (line.get_color() for line in ax.lines if line.get_label() == "GC threshold")
    assert threshold not in drawn


def test_draws_into_the_given_axes_and_leaves_pyplot_alone():
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert charts.usage_by_repository(repositories(3), ax=ax) is ax
    assert plt.get_fignums() == []


def test_never_changes_its_frame():
    frame = repositories(40)
    before = frame.copy(deep=True)
    charts.usage_by_repository(frame)
    charts.treemap(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_hostile_names_are_drawn_as_text():
    frame = pd.DataFrame(
        {
            "repository": ["$\\frac{a$", "<script>\x1b[31m\n", "x" * 300],
            "unique_bytes": [3, 2, 1],
            "shared_bytes": [1, 1, 1],
        }
    )
    ax = charts.usage_by_repository(frame)
    ax.figure.canvas.draw()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert "\x1b" not in "".join(labels)
    assert max(map(len, labels)) <= 34


def test_what_is_missing_is_named():
    with pytest.raises(MissingColumn, match=r"charts\.growth needs the column 'total_bytes'"):
        charts.growth(pd.DataFrame({"collected_at": [], "node": []}))
    with pytest.raises(InputError, match="theme 'blue' is unknown"):
        charts.fleet(nodes(), theme="blue")


def test_unknown_bytes_are_nothing_not_an_error():
    frame = pd.DataFrame(
        {
            "repository": ["a", "b"],
            "unique_bytes": pd.array([1, None], dtype="Int64"),
            "shared_bytes": pd.array([None, 2], dtype="Int64"),
        }
    )
    assert [bar.get_width() for bar in imf.charts.usage_by_repository(frame).patches] == [0, 1, 2, 0]
