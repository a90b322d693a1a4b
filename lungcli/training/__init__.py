"""Learning: nets, the one training loop, losses, export. Torch lives here and nowhere else."""
