"""Smaller model files: the search for a quantization that holds, and the proof that int8 is int8."""
