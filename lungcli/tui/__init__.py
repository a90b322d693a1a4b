"""The dashboard: textual lives in this room. It watches files that other processes write, and loads no torch."""
