"""The audit of a data set: leakage, shortcuts, label conflicts and other problems."""
