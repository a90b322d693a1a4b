"""The dashboard: textual lives in this room. It watches files that other processes write, and loads no torch."""

# Columns below which views are laid out for a narrow terminal.
NARROW = 100
