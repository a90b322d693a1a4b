"""Figures out of numbers: confusion matrices, intervals, significance, calibration, referral. Only numpy."""
