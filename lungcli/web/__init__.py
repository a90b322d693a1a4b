"""The web page: pictures dropped into a browser, verdicts with their reasons out of it."""
