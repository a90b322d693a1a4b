"""Using models: model files, prediction, evaluation, quantization, timing. ONNX Runtime lives here."""
