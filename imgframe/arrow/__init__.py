"""Tools on Arrow columns: finding the rows of one table from another."""
