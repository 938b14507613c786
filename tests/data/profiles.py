"""Small ICC profiles: matrices with a gamma for RGB, a gamma for grey, a table for CMYK."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
"""XYZ of red, green and blue, adapted to D50."""


def rgb_profile(primaries: tuple[tuple[float, float, float], ...], gamma: float = 2.2) -> bytes:
    tags = {f"{colour}XYZ": _xyz(xyz) for colour, xyz in zip("rgb", primaries, strict=True)}
    tags |= {f"{colour}TRC": _gamma(gamma) for colour in "rgb"}
    return _profile(b"RGB ", b"mntr", b"XYZ ", tags | {"wtpt": _xyz(D50)})


def grey_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", b"mntr", b"XYZ ", {"kTRC": _gamma(gamma), "wtpt": _xyz(D50)})


def cmyk_profile(lab_of_ink: np.ndarray) -> bytes:
    """Of a press whose inks, none or full (axes C, M, Y, K), have these 16 colours in Lab, 0 to 255."""
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + lab_of_ink.astype(np.uint8).tobytes()
    return _profile(b"CMYK", b"prtr", b"Lab ", {"A2B0": table + ramp * 3, "wtpt": _xyz(D50)})


def _profile(space: bytes, device: bytes, connection: bytes, tags: dict[str, bytes]) -> bytes:
    tags = {"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78), **tags}
    offset, index, content = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        index += name.encode() + struct.pack(">II", offset + len(content), len(data))
        content += data
    head = bytes(4) + bytes([2, 0x40, 0, 0]) + device + space + connection + struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    head = bytes(4) + head + b"acsp" + bytes(28) + struct.pack(">3i", *(round(value * 65536) for value in D50))
    whole = head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + content
    return struct.pack(">I", len(whole)) + whole[4:]


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))
