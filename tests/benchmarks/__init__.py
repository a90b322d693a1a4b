"""Scripts that measure, to be run by hand: `python -m tests.benchmarks.startup`. None of them is a test."""
