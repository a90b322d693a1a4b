"""Export: the graph gives what the net gives, and takes any number of slices."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from lungcli.training import nets, onnx_export


@pytest.mark.parametrize(
    ("name", "shows_evidence"),
    [
        ("ownmodel", False),
        ("resnet18", True),
        ("mobilenetv2", True),
        ("squeezenet", False),
        # The exporter takes half a minute for hundreds of small layers.
        pytest.param("efficientnet-lite0", True, marks=pytest.mark.long),
        pytest.param("densenet121", True, marks=pytest.mark.long),
    ],
)
def test_the_graph_gives_the_logits_of_the_net_and_evidence_that_averages_to_them(
    tmp_path: Path, name: str, shows_evidence: bool
) -> None:
    torch.manual_seed(0)
    net = nets.build(name, 3, 64)
    # Fresh running statistics would hide a fault in normalisation.
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    path = tmp_path / "graph.onnx"
    onnx_export.export(net, 64, path)
    assert [item.name for item in path.parent.iterdir()] == ["graph.onnx"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert ("evidence" in [item.name for item in session.get_outputs()]) is shows_evidence
    for count in (1, 5):
        slices = np.random.default_rng(0).integers(0, 256, (count, 1, 64, 64), dtype=np.uint8)
        with torch.inference_mode():
            expected = net(torch.from_numpy(slices).float()).numpy()
        (logits,) = session.run(["logits"], {"slice": slices})
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
        if shows_evidence:
            (evidence,) = session.run(["evidence"], {"slice": slices})
            assert evidence.shape == (count, 3, 2, 2)
            np.testing.assert_allclose(evidence.mean(axis=(2, 3)), logits, rtol=1e-3, atol=1e-4)
