"""Back-test of the forecast: its error beside a straight line's and the last slope's, on seeded histories of five kinds.

Printed: the median absolute error of the days until the threshold, in % of the truth, over many histories and starting days,
and how often the truth lay in the 90 % interval.
"""

from __future__ import annotations

import math

import numpy as np

from imgframe.capacity.forecast import days_until, fit_trend

GB = 1e9
HISTORY, HORIZON = 90, 120


def steps(kind: str, rng: np.random.Generator, days: int) -> np.ndarray:
    """Bytes pulled on each day, before anything is pruned."""
    rate = rng.uniform(1, 6) * GB
    base = rng.gamma(4, rate / 4, days)
    if kind == "weekly releases":
        base = np.where(np.arange(days) % 7 == 2, base * 5, base * 0.33)
    if kind == "rate doubled":
        base[HISTORY // 3 :] *= 2
    return base


def history(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Used bytes at each day of the history, and the growth after it that nothing interrupts."""
    grown = steps(kind, rng, HISTORY + HORIZON)
    used, level, top = [], 100 * GB, rng.uniform(160, 260) * GB
    for day in range(HISTORY):
        level += grown[day]
        if kind in {"sawtooth", "weekly releases"} and level > top:
            level *= 0.6
        if kind == "pruned by hand" and rng.random() < 0.04:
            level *= rng.uniform(0.5, 0.9)
        used.append(level)
    return np.array(used), np.cumsum(grown[HISTORY:])


def straight_line(days: np.ndarray, used: np.ndarray, need: float) -> float:
    slope, start = np.polyfit(days, used, 1)
    target = used[-1] + need
    return (target - start) / slope - days[-1] if slope > 0 else math.inf


def last_slope(days: np.ndarray, used: np.ndarray, need: float) -> float:
    slope = (used[-1] - used[-8]) / (days[-1] - days[-8])
    return need / slope if slope > 0 else math.inf


def main() -> None:
    print(f"{'history':18} {'imgframe':>9} {'straight':>9} {'last 7 d':>9} {'ratio':>7}   in 90 % interval")
    for kind in ("steady", "sawtooth", "pruned by hand", "weekly releases", "rate doubled"):
        errors, inside = [], []
        rng = np.random.default_rng(7)
        for _ in range(400):
            used, future = history(kind, rng)
            days = np.arange(HISTORY, dtype=float)
            need = float(future[rng.integers(20, 90)])
            truth = float(np.searchsorted(future, need) + 1)
            trend = fit_trend(days, used)
            guesses = (days_until(need, trend), straight_line(days, used, need), last_slope(days, used, need))
            errors.append([min(abs(guess - truth) / truth, 10) for guess in guesses])
            inside.append(days_until(need, trend, 1.645) <= truth <= days_until(need, trend, -1.645))
        ours, line, slope = np.median(errors, axis=0) * 100
        print(
            f"{kind:18} {ours:8.1f}% {line:8.1f}% {slope:8.1f}% {ours / min(line, slope):7.2f}   {np.mean(inside) * 100:.0f} %"
        )
    print("ratio: our error to the better of the other two; below 1 is better")


if __name__ == "__main__":
    main()
