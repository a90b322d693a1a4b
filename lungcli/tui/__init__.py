"""Showing: the full-screen dashboard. Nothing outside this folder knows textual."""
