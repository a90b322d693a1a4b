"""Whole jobs: stages, compression, pruning, quantization, evaluation, cross-validation, reproduction."""
