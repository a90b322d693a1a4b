"""The audit of a data set: what in it would flatter a classifier, or mislead it."""
