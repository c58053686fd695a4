"""Tensors from their places in files: read whole, one at a time, checked, and laid out for us."""

from __future__ import annotations

import torch
from torch import Tensor

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.crc32c import masked_crc32c
from gpt2eval.formats.gguf import dequantised
from gpt2eval.formats.opened import Stored

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def read_stored(stored: Stored) -> Tensor:
    """The tensor, in the dtype that it has on disk; quantised ones in float32.

    Raises CheckpointError where the file has become shorter, or the checksum is wrong.
    """
    content = torch.empty(stored.size, dtype=torch.uint8)
    array = content.numpy()
    with stored.path.open("rb") as file:
        file.seek(stored.begin)
        count = file.readinto(array.data)
    if count != stored.size:
        raise CheckpointError(
            f"{stored.path} ends {stored.size - (count or 0)} bytes too early; it was changed while"
            " it was read"
        )
    if stored.checksum is not None and masked_crc32c(array) != stored.checksum:
        raise CheckpointError(
            f"{stored.path}: the checksum of bytes {stored.begin} to {stored.begin + stored.size}"
            " is wrong; the file is damaged, copy or download it again"
        )
    if stored.dtype in DTYPES:
        tensor = content.view(DTYPES[stored.dtype]).view(stored.shape)
    else:
        tensor = torch.from_numpy(dequantised(array, stored))
    return tensor.t() if stored.transposed else tensor
