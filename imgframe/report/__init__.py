"""Reports: one folder with a page to read, charts as images, every table behind them as Parquet and CSV, and the totals.

Example:
    >>> import imgframe as imf, tempfile
    >>> made = imf.report.write(imf.Inventory({}), tempfile.mkdtemp() + "/report")
    >>> sorted(file.name for file in made.path.iterdir())
    ['charts', 'index.html', 'report.json', 'tables']
    >>> made.totals["image_records"], made.violations
    (0, [])
"""

from imgframe.report.budget import Budget, Check, open_budget
from imgframe.report.report import Report, write

__all__ = ["Budget", "Check", "Report", "open_budget", "write"]
