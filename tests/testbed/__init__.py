"""The test bed: real daemons, registries and browsers, stores that were made to be odd, and readers of vectors."""
