"""Go's package time: durations, RFC 3339, dates, and what nerdctl's ``until`` accepts.

All values are integers of nanoseconds (since 1970-01-01T00:00:00Z for moments) of any size: the years 0 and 9999 lie outside
the range of 64 bits. No float is involved, except where Go itself multiplies the fraction of a
duration as float64.
"""

from imgframe.golang.time.duration import SECOND, format_duration, parse_duration
from imgframe.golang.time.moments import (
    EARLIEST,
    LATEST,
    back,
    parse_until,
    saturate,
    to_duration,
    to_nanoseconds,
)
from imgframe.golang.time.rfc3339 import (
    format_time,
    parse_date,
    parse_rfc3339,
    read_rfc3339,
    unmarshal,
)

__all__ = [
    "EARLIEST",
    "LATEST",
    "SECOND",
    "back",
    "format_duration",
    "format_time",
    "parse_date",
    "parse_duration",
    "parse_rfc3339",
    "parse_until",
    "read_rfc3339",
    "saturate",
    "to_duration",
    "to_nanoseconds",
    "unmarshal",
]
