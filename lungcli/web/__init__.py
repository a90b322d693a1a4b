"""The web page of `lungcli serve`: pictures in, predictions with explanations out."""
