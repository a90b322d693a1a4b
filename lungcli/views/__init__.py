"""Words and pictures that the command line, the dashboard and the page share."""
