"""The view of predictions."""
