"""What imgframe promises to be fast at, measured beside a yardstick in the same run. Never a test."""
