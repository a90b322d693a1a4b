"""Using models: inputs, predictions, ensembles, series, explanations, JSON."""
