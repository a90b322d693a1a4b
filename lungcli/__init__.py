"""Lung CT classifiers: train, distil, quantize, measure, predict. Research software, not a medical device."""

__version__ = "0.1.0"
