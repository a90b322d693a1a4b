"""The model file: card, rules of a graph, trial run, loading, and finding one by name. ONNX Runtime lives here."""
