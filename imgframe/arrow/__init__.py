"""Lookups between Arrow tables: keys as numbers, rows by key, and the image records that a frame refers to."""
