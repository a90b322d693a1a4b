"""The model file: card, graph limits, loading, and finding one by name. ONNX Runtime lives here."""
