"""Losses: on labels, and on teachers (knowledge distillation)."""
