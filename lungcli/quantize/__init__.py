"""Smaller model files: the search for a quantization that loses little, and the proof that int8 runs on integers."""
