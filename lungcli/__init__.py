"""Lung CT classifiers: train, distil, quantize, measure, predict. Research software, not a medical device."""

import os

# From 1.29 on, ONNX Runtime tells its maker what is run on it, unless it finds this before it is imported; several
# rooms import it, and all of them come after this line.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.2.0"

DISCLAIMER = "Research software, not a medical device: no clinical decision may rest on it."
