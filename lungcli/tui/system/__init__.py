"""The view of this machine."""
