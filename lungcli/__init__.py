"""Lung CT classifiers: train, distil, quantize, measure, predict. Research software, not a medical device."""

__version__ = "0.1.0"

DISCLAIMER = "Research software, not a medical device: no clinical decision may rest on it."
