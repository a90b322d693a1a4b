"""What lies beside a net from elsewhere: `config.json`, `preprocessor_config.json`, as the Hugging Face Hub has them.

transformers writes `id2label` into the first and the second whole, timm `architecture` and `pretrained_cfg` into the
first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from lungcli.core import paths
from lungcli.core.errors import ModelFileError
from lungcli.core.recipe import Resize
from lungcli.modelfile.foreign_net import Conventions

_LARGEST = 1 << 22
_CONFIG, _PREPROCESSING = "config.json", "preprocessor_config.json"
_MOST_GREY = 255

Content = TypeVar("Content")


class _TimmSettings(msgspec.Struct, frozen=True):
    input_size: tuple[int, int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


class _Config(msgspec.Struct, frozen=True):
    id2label: dict[int, str] | None = None
    architecture: str = ""
    label_names: tuple[str, ...] | None = None
    pretrained_cfg: _TimmSettings = _TimmSettings()


class _Preprocessing(msgspec.Struct, frozen=True):
    """As `transformers.BaseImageProcessor` writes it; sizes are {height, width}, {shortest_edge} or a number."""

    do_rescale: bool = True
    rescale_factor: Annotated[float, msgspec.Meta(ge=1e-6, le=1e6)] = 1 / _MOST_GREY
    do_normalize: bool = False
    image_mean: tuple[float, ...] = (0.0,)
    image_std: tuple[float, ...] = (1.0,)
    size: dict[str, int] | int = 0
    do_center_crop: bool = False
    crop_size: dict[str, int] | int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What files beside a net say of it, by who says it, and timm's name of it (empty where none says it)."""

    parts: tuple[tuple[str, Conventions], ...]
    net: str


def beside(path: Path) -> Beside:
    """Read the files beside a net, where there are any. Raises ModelFileError for a damaged one."""
    config = _read(path.with_name(_CONFIG), _Config) or _Config()
    preprocessing = _read(path.with_name(_PREPROCESSING), _Preprocessing)
    parts = [(f"{_CONFIG} beside it", _of_config(config))]
    if preprocessing:
        parts.insert(0, (f"{_PREPROCESSING} beside it", _of_preprocessing(preprocessing)))
    return Beside(parts=tuple(parts), net=config.architecture)


def _read(path: Path, kind: type[Content]) -> Content | None:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(paths.read_regular(path, _LARGEST), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: {error}", "mend it, or move it away from the net") from error


def _of_config(config: _Config) -> Conventions:
    labels = config.id2label or {}
    timm = config.pretrained_cfg
    return Conventions(
        classes=tuple(labels[number] for number in sorted(labels)) or config.label_names,
        size=timm.input_size[1] if timm.input_size else None,
        mean=timm.mean,
        std=timm.std,
    )


def _of_preprocessing(said: _Preprocessing) -> Conventions:
    # Of a grey from 0 to 1, which is 255 × `rescale_factor` to them.
    factor = _MOST_GREY * (said.rescale_factor if said.do_rescale else 1)
    mean, std = (said.image_mean, said.image_std) if said.do_normalize else ((0.0,), (1.0,))
    size, resize = _size(said)
    return Conventions(
        size=size,
        resize=resize,
        mean=tuple(value / factor for value in mean),
        std=tuple(value / factor for value in std),
    )


def _size(said: _Preprocessing) -> tuple[int | None, Resize | None]:
    """Return the side and what a picture is resized by, where that is known here: to it whole, or to its middle."""
    resized = said.size if isinstance(said.size, dict) else {"height": said.size, "width": said.size}
    if not said.do_center_crop:
        side = resized.get("height", 0)
        return (side, "stretch") if side and side == resized.get("width") else (None, None)
    cut = said.crop_size if isinstance(said.crop_size, dict) else {"height": said.crop_size, "width": said.crop_size}
    side = cut.get("height", 0)
    if not side or side != cut.get("width"):
        return None, None
    # A smaller part of the middle than the shorter side is none of the three ways here.
    return side, "crop" if resized.get("shortest_edge") == side else None
