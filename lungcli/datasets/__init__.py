"""Data sets: import, download, near-duplicate groups, splits, audit, cache, phantoms."""
