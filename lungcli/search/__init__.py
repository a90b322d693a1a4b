"""Hyperparameter search: the search space, storage of studies, single trials, and the loop over them."""
