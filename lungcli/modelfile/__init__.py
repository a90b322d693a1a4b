"""The model file: card, graph limits, loading, and finding one by name. ONNX Runtime lives here."""


import os

# From 1.29 on, the runtime tells its maker what is run on it, unless it finds this before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
