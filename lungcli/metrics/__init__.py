"""Metrics: confusion matrices, intervals, significance, calibration, referral. Only numpy."""
