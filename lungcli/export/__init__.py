"""Model files for other runtimes, with a parity check."""
