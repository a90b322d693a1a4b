"""The view that starts jobs."""
