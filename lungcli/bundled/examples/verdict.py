"""The prediction of a model that `lungcli export` wrote: python verdict.py MODEL.onnx SLICE.png

Needs numpy, pillow and onnxruntime. SLICE.png is a slice as `lungcli predict --prepared-to` writes it. Call it with
ORT_DISABLE_TELEMETRY=1 in the environment, or onnxruntime tells its maker of the model.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1])
facts = json.loads(session.get_modelmeta().custom_metadata_map["lungcli-export"])
pixels = np.asarray(Image.open(sys.argv[2]).convert("L"))[None, None]
probabilities = session.run(["probabilities"], {"slice": pixels})[0][0].tolist()
surest = max(probabilities)
prediction = {
    "label": facts["classes"][probabilities.index(surest)],
    "probabilities": dict(zip(facts["classes"], probabilities, strict=True)),
    "referred": surest < (facts["referral_threshold"] or 0),
}
print(json.dumps(prediction))
