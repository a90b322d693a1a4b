"""Synthetic data: chest phantoms drawn by the program."""
