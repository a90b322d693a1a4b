"""Training: nets, the one training loop, losses, ONNX export. The only room that imports torch."""
