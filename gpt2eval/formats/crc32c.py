"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, at the speed of numpy.

A long text is cut into thousands of lanes whose checksums are computed side by side, eight bytes a
step; what a checksum becomes after n more zero bytes is linear over bits, so that the lanes can be
put together (as zlib's crc32_combine does).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78  # reflected
LANES = 1 << 14
STEP = 8  # bytes
Array = NDArray[np.uint32]


def crc32c(data: NDArray[np.uint8] | bytes) -> int:
    """The checksum of bytes."""
    content = np.frombuffer(data, dtype=np.uint8)
    lanes = min(LANES, 1 << max(0, (len(content) // (64 * STEP)).bit_length() - 1))
    length = len(content) // lanes // STEP * STEP if len(content) >= 64 * STEP else 0
    state = 0xFFFFFFFF
    if length:
        head = content[: lanes * length].reshape(lanes, length)
        state = _shift(state, lanes * length) ^ _side_by_side(head)
    table = _tables()[0][:256].tolist()
    for byte in content[lanes * length :].tolist():
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def masked_crc32c(data: NDArray[np.uint8] | bytes) -> int:
    """The checksum as TensorFlow and LevelDB store it."""
    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _tables() -> tuple[Array, ...]:
    """One of 256 for a byte, then four of 65536 for two bytes, 0, 2, 4 and 6 bytes from the end."""
    byte: Array = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        byte = (byte >> np.uint32(1)) ^ (byte & np.uint32(1)) * np.uint32(POLYNOMIAL)
    pair: Array = np.arange(65536, dtype=np.uint32)
    for _ in range(2):
        pair = byte[pair & 0xFF] ^ (pair >> 8)
    tables: list[Array] = [byte, pair]
    for _ in range(3):
        pair = byte[pair & 0xFF] ^ (pair >> 8)
        pair = byte[pair & 0xFF] ^ (pair >> 8)
        tables.append(pair)
    return tuple(tables)


def _side_by_side(block: NDArray[np.uint8]) -> int:
    """The state after all bytes of a block [lanes, length], row after row, from state 0."""
    _, last, third, second, first = _tables()
    words = block.view("<u2")  # [lanes, length / 2]
    states = np.zeros(len(block), dtype=np.uint32)
    for place in range(0, words.shape[1], 4):
        states = (
            first[words[:, place] ^ (states & 0xFFFF).astype(np.uint16)]
            ^ second[words[:, place + 1] ^ (states >> 16).astype(np.uint16)]
            ^ third[words[:, place + 2]]
            ^ last[words[:, place + 3]]
        )
    length = block.shape[1]
    while len(states) > 1:
        states = _apply(_operator(length), states[0::2]) ^ states[1::2]
        length *= 2
    return int(states[0])


def _shift(state: int, count: int) -> int:
    """What a state becomes after so many zero bytes."""
    return int(_apply(_operator(count), np.array([state], dtype=np.uint32))[0])


def _apply(operator: Array, values: Array) -> Array:
    """Each value times a matrix of bits, [32] columns."""
    result = np.zeros_like(values)
    for bit, column in enumerate(operator):
        result ^= column * ((values >> np.uint32(bit)) & np.uint32(1))
    return result


@cache
def _operator(count: int) -> Array:
    """The matrix of `count` zero bytes."""
    square = _tables()[0][1 << np.arange(8)]  # one byte: of the low eight bits
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    square = np.concatenate([square, bits[:24]])
    result = bits
    while count:
        if count & 1:
            result = _apply(square, result)
        square = _apply(square, square)
        count >>= 1
    return result
