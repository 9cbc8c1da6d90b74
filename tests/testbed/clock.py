"""The moment at which the simulated stores of tests end, so that they hold the same on every day."""

from datetime import UTC, datetime

END = datetime(2026, 11, 23, 6, tzinfo=UTC)
