"""The view of runs."""
