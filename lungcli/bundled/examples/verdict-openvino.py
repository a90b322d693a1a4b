"""The prediction of a model that `lungcli export` wrote: python verdict-openvino.py MODEL.xml SLICE.png

Needs numpy, pillow and openvino. SLICE.png is a slice as `lungcli predict --prepared-to` writes it.
"""

import json
import sys

import numpy as np
import openvino
from PIL import Image

core = openvino.Core()
model = core.read_model(sys.argv[1])
facts = json.loads(model.get_rt_info(["lungcli-export"]).astype(str))
# In the processor's bfloat16, the default where there is one, probabilities are off by several per cent.
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
pixels = np.asarray(Image.open(sys.argv[2]).convert("L"))[None, None]
probabilities = compiled(pixels)["probabilities"][0].tolist()
surest = max(probabilities)
prediction = {
    "label": facts["classes"][probabilities.index(surest)],
    "probabilities": dict(zip(facts["classes"], probabilities, strict=True)),
    "referred": surest < (facts["referral_threshold"] or 0),
}
print(json.dumps(prediction))
