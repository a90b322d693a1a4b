"""How good a model is: evaluation, comparison, robustness, external data, calibration, timing, plots."""
