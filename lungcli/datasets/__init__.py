"""Data sets in: taking in, downloading, grouping, splitting, auditing, caching, drawing phantoms."""
