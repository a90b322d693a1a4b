"""Nets of torchvision that need more than their names to be built.

Layers whose exported graph would compute shapes at run time are replaced by equivalent ones; weights keep torchvision's
names.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models.convnext import ConvNeXt
from torchvision.models.googlenet import GoogLeNet
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import EncoderBlock, VisionTransformer

from lungcli.core.errors import UsageError

_PATCH = 16


def googlenet(num_classes: int) -> GoogLeNet:
    """GoogLeNet (Szegedy et al., 1409.4842) without its auxiliary training heads."""
    return models.googlenet(num_classes=num_classes, aux_logits=False, init_weights=True)


def convnext_tiny(num_classes: int) -> ConvNeXt:
    """ConvNeXt-T (Liu et al., 2201.03545)."""
    net = models.convnext_tiny(num_classes=num_classes)
    net.avgpool = _Mean()
    return net


def swin_t(num_classes: int) -> SwinTransformer:
    """Swin-T (Liu et al., 2103.14030)."""
    net = models.swin_t(num_classes=num_classes)
    net.avgpool = _Mean()
    return net


def vit_b_16(num_classes: int, size: int) -> "_VisionTransformer":
    """ViT-B/16 (Dosovitskiy et al., 2010.11929) for slices of `size` pixels. Raises UsageError for other multiples."""
    if size % _PATCH:
        raise UsageError(
            f"vit-b-16 cuts slices into patches of {_PATCH} pixels, and {size} is no multiple of that",
            f"choose another --size, such as {size // _PATCH * _PATCH}",
        )
    return _VisionTransformer(
        image_size=size,
        patch_size=_PATCH,
        num_layers=12,
        num_heads=12,
        hidden_dim=768,
        mlp_dim=3072,
        num_classes=num_classes,
    )


class _Mean(nn.Module):
    """Global average pooling; torch's own, of channels-last features, is exported as a gather over the batch."""

    def forward(self, features: Tensor) -> Tensor:
        """Means (N, C, 1, 1) of features (N, C, h, w)."""
        return features.mean(dim=(2, 3), keepdim=True)


class _VisionTransformer(VisionTransformer):  # type: ignore[misc]
    """A ViT that adds the class token to a row of zeros instead of expanding it to the size of the batch."""

    def __init__(self, **sizes: int) -> None:
        super().__init__(**sizes)
        for block in self.encoder.layers:
            block.self_attention = _attention_of(block)

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (N, K) of pictures (N, C, S, S), C channels in the stem."""
        patches = self.conv_proj(slices).flatten(2).transpose(1, 2)
        token = functional.pad(self.class_token, (0, 0, 0, (self.image_size // _PATCH) ** 2))
        return cast(Tensor, self.heads(self.encoder(functional.pad(patches, (0, 0, 1, 0)) + token)[:, 0]))


class _Attention(nn.MultiheadAttention):
    """Self-attention of tokens (N, L, D), batch first and without dropout, as torch computes it."""

    def forward(  # type: ignore[override]
        self, tokens: Tensor, key: Tensor, value: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, None]:
        """Attended tokens (N, L, D); `key` and `value` are the same tokens, and are not read."""
        del key, value, need_weights
        mixed = functional.linear(tokens, self.in_proj_weight, self.in_proj_bias)
        query, keys, values = torch.unflatten(mixed, 2, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        weights = (query * self.head_dim**-0.5 @ keys.transpose(2, 3)).softmax(dim=-1)
        return self.out_proj((weights @ values).transpose(1, 2).flatten(2)), None


def _attention_of(block: EncoderBlock) -> _Attention:
    """The attention layer of `block`, with its weights, as an `_Attention`."""
    theirs = block.self_attention
    ours = _Attention(theirs.embed_dim, theirs.num_heads, batch_first=True)
    ours.load_state_dict(theirs.state_dict())
    return ours
