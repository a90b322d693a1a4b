"""The slices that a model was trained or chosen on, kept in its file so that they are recognised elsewhere.

Contents are recognised by their sha256, copies that were encoded anew, scaled or windowed otherwise by thumbnails.
"""

import functools
import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lungcli.datasets import groups
from lungcli.datasets.groups import Thumbs
from lungcli.datasets.manifest import Manifest
from lungcli.modelfile.model_card import TrainingSlices

# Of 20,000 slices, 5 bytes are another slice's in one of 55 million.
HASH_BYTES = 5
SIGNATURE_BITS = 128
# Bits in which a copy may differ. Of 1,400 slices of four hospitals, all copies (half the size, JPEG) are recognised,
# and 99.6 % where the window is narrower by 30 %, too; 0.14 % are taken for a slice of another near-duplicate group,
# none for one of another hospital. At 8 bits 98.0 % of those copies are recognised; at 12 bits all are, and 3.0 % are
# taken for another group's (`tests/benchmarks/signatures.py`).
NEAR_BITS = 10
# Slices compared with all of a model at once.
_BLOCK = 512


def signature(thumb: Thumbs) -> str:
    """Return the signature of a thumbnail, float32 [4096], in hexadecimal: of alike ones, few bits differ.

    Each bit is the side of a random plane on which it lies, so that bits differ in proportion to the angle (Charikar,
    STOC 2002, section 3).
    """
    return np.packbits(thumb @ _planes() > 0).tobytes().hex()


def record(data: Manifest, indices: Iterable[int]) -> TrainingSlices:
    """Describe the slices `indices` of a data set, for the card of a model that has seen them."""
    slices = [data.slices[i] for i in indices]
    return TrainingSlices(
        count=len(slices),
        hashes=b"".join(sorted({_short(item.sha256) for item in slices})),
        signatures=b"".join(sorted({bytes.fromhex(item.signature) for item in slices if item.signature})),
    )


def union(ours: TrainingSlices, theirs: TrainingSlices | None) -> TrainingSlices:
    """Describe the slices of both."""
    if theirs is None:
        return ours
    hashes, width = _parts(ours.hashes, HASH_BYTES) | _parts(theirs.hashes, HASH_BYTES), SIGNATURE_BITS // 8
    signatures = _parts(ours.signatures, width) | _parts(theirs.signatures, width)
    return TrainingSlices(count=len(hashes), hashes=b"".join(sorted(hashes)), signatures=b"".join(sorted(signatures)))


def recognized(known: TrainingSlices | None, hashes: Sequence[str], signatures: Sequence[str]) -> NDArray[np.bool_]:
    """Say which slices, by sha256 and signature (or none: empty), are `known` or copies of those: (n,)."""
    if known is None:
        return np.zeros(len(hashes), dtype=np.bool_)
    contents = _parts(known.hashes, HASH_BYTES)
    same = np.array([_short(sha256) in contents for sha256 in hashes], dtype=np.bool_)
    width = SIGNATURE_BITS // 8
    theirs = np.frombuffer(known.signatures, dtype=np.uint64).reshape(-1, width // 8)
    ours = np.frombuffer(b"".join(bytes.fromhex(item or "0" * 2 * width) for item in signatures), dtype=np.uint64)
    ours = ours.reshape(-1, width // 8)
    alike = np.zeros(len(ours), dtype=np.bool_)
    for start in range(0, len(ours) if len(theirs) else 0, _BLOCK):
        block = slice(start, start + _BLOCK)
        differing = np.bitwise_count(ours[block, None] ^ theirs[None]).sum(axis=2, dtype=np.int64)
        alike[block] = differing.min(axis=1) <= NEAR_BITS
    # A flat picture, and a slice without a signature, are like nothing.
    return same | (alike & ours.any(axis=1))


def unseen(known: TrainingSlices | None, data: Manifest) -> tuple[int, ...]:
    """Return the slices of a data set that a model has not seen, nor anything of their near-duplicate groups."""
    seen = recognized(known, [item.sha256 for item in data.slices], [item.signature for item in data.slices])
    seen_groups = {item.group for item, is_seen in zip(data.slices, seen.tolist(), strict=True) if is_seen}
    return tuple(i for i, item in enumerate(data.slices) if item.group not in seen_groups)


def _parts(joined: bytes, width: int) -> set[bytes]:
    return {joined[i : i + width] for i in range(0, len(joined), width)}


def _short(sha256: str) -> bytes:
    # Hashed again, so that whatever a manifest holds can be compared.
    return hashlib.sha256(sha256.encode()).digest()[:HASH_BYTES]


@functools.cache
def _planes() -> NDArray[np.float32]:
    """Random planes, -1 or 1: float32 [4096, SIGNATURE_BITS]; the same on every machine and under every version."""
    size = groups.SIDE**2 * SIGNATURE_BITS
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(b"lungcli").digest(size // 8), dtype=np.uint8))
    planes: NDArray[np.float32] = (bits.astype(np.float32) * 2 - 1).reshape(groups.SIDE**2, SIGNATURE_BITS)
    return planes
