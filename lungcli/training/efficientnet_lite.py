"""EfficientNet-Lite: EfficientNet (Tan & Le 2019, 1905.11946) without squeeze-excitation and with ReLU6.

The parts left out are those that int8 represents badly, so these nets lose little when quantized.
"""

import functools
import math
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """Inverted residual blocks of one resolution, as table 1 of the paper gives them for width and depth 1."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    _Stage(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    _Stage(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    _Stage(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    _Stage(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
    _Stage(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
    _Stage(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
)
_STEM, _HEAD = 32, 1280


class _Convolution(nn.Sequential):
    """Convolution padded as TensorFlow does ("same"), batch normalisation, and maybe ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, active: bool = True
    ) -> None:
        padding = [] if stride == 1 else [nn.ZeroPad2d(((kernel - 2) // 2, (kernel - 1) // 2) * 2)]
        super().__init__(
            *padding,
            nn.Conv2d(inputs, outputs, kernel, stride, 0 if padding else kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
            *([nn.ReLU6(inplace=True)] if active else []),
        )


class _Block(nn.Module):
    """Inverted residual block: widen, convolve each channel, narrow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.layers = nn.Sequential(
            *([_Convolution(inputs, wide, 1)] if expansion > 1 else []),
            _Convolution(wide, wide, kernel, stride, groups=wide),
            _Convolution(wide, outputs, 1, active=False),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        output = cast(Tensor, self.layers(features))
        return features + output if self.residual else output


class EfficientNetLite(nn.Module):
    """A net of the family for 3 input channels; stem and head, first and last stage are never scaled."""

    def __init__(self, num_classes: int, width: float, depth: float, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = [_Convolution(3, _STEM, 3, 2)]
        inputs = _STEM
        for i, stage in enumerate(_STAGES):
            repeats = stage.repeats if i in (0, len(_STAGES) - 1) else math.ceil(stage.repeats * depth)
            outputs = _scaled(stage.channels, width)
            for repeat in range(repeats):
                stride = stage.stride if repeat == 0 else 1
                layers.append(_Block(inputs, outputs, stage.kernel, stride, stage.expansion))
                inputs = outputs
        layers.append(_Convolution(inputs, _HEAD, 1))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(_HEAD, num_classes))

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (N, K) of pictures (N, C, S, S), C channels in the stem."""
        return cast(Tensor, self.classifier(self.pool(self.features(slices))))


def _scaled(channels: int, width: float) -> int:
    """Channels times width, rounded to a multiple of 8, but never down by more than a tenth."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded


def _build(width: float, depth: float, dropout: float, *, num_classes: int) -> EfficientNetLite:
    return EfficientNetLite(num_classes, width, depth, dropout)


lite0 = functools.partial(_build, 1.0, 1.0, 0.2)
lite2 = functools.partial(_build, 1.1, 1.2, 0.3)
