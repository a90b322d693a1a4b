"""The view of data sets."""
