"""Mistakes that a user makes; both type checkers report every line that ends in ``# error``, and no other."""

from pathlib import Path

import imgframe as imf

imf.colect()  # error
imf.collect(tabels=3)  # error
imf.collect(usage="everything")  # error
imf.collect(timeout="60s")  # error
imf.chart  # error
imf.charts.growht  # error

inv = imf.collect()
inv.imagse  # error
inv.save()  # error
imf.prune(inv)  # error
imf.prune(inv.images, inv, keep_pined=False)  # error
imf.filter_until(720)  # error
imf.filter_until("720h") & "720h"  # error

plan = imf.open_plan(Path("plan"))
plan.aply()  # error
plan.stepz  # error
plan.apply().undone  # error
imf.ensure(["alpine"], mode=3)  # error
imf.gotime.parse_duration("1h").upper()  # error
