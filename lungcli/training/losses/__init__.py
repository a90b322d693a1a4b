"""What a net learns from: labels, and teachers."""
