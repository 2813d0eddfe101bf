"""Writes ICC profiles for colours that a file describes by numbers: PNG's gAMA, cHRM and cICP, AVIF's and HEIC's nclx.

Sources: ICC.1:2010 (profile format), ITU-T H.273 (code points), SMPTE ST 2084 and ITU-R BT.2100 (HDR curves).
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Primaries(NamedTuple):
    """Chromaticities, x and y, of white, red, green and blue."""

    white: tuple[float, float]
    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]


_D65 = (0.3127, 0.3290)
SRGB = Primaries(_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_PAL = Primaries(_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06))
_NTSC = Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
# H.273, table 2.
PRIMARIES = {
    1: SRGB,
    4: Primaries((0.310, 0.316), (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: _PAL,
    6: _NTSC,
    7: _NTSC,
    9: Primaries(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: Primaries((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: Primaries(_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
# H.273, table 3. Browsers show the curves of video (BT.709, 601, 2020) as that of sRGB.
_SRGB_CURVES = (1, 6, 13, 14, 15)
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_PQ, _HLG = 16, 18
_ENTRIES = 1_024

# BT.2408: diffuse white of HDR material in cd/m2. It becomes sRGB's white; what is brighter is clipped.
_WHITE_CD_M2 = 203.0
_HLG_PEAK_CD_M2 = 1000.0

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@functools.lru_cache(maxsize=32)
def profile_of_code_points(primaries: int, transfer: int) -> bytes | None:
    """The profile of H.273's code points; None for sRGB's and for those that are unspecified or unknown."""
    chosen = PRIMARIES.get(primaries, SRGB)
    if transfer in _GAMMAS:
        return matrix_profile(chosen, np.linspace(0, 1, _ENTRIES) ** _GAMMAS[transfer])
    if transfer == _PQ:
        return matrix_profile(chosen, _pq())
    if transfer == _HLG:
        return matrix_profile(chosen, _hlg())
    if transfer not in (*_SRGB_CURVES, 2) or chosen is SRGB:
        return None
    return matrix_profile(chosen, _srgb())


@functools.lru_cache(maxsize=32)
def profile_of_gamma(gamma: float, chromaticities: tuple[float, ...]) -> bytes | None:
    """The profile of PNG's gAMA and cHRM: white, red, green, blue as x and y; none of them is sRGB's.

    None where no display can be meant.
    """
    if not 0.1 <= gamma <= 3:
        return None
    primaries = SRGB
    if len(chromaticities) == 8 and all(0 < value < 1 for value in chromaticities[1::2]):
        pairs = [(float(x), float(y)) for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)]
        primaries = Primaries(*pairs)
    try:
        return matrix_profile(primaries, np.linspace(0, 1, _ENTRIES) ** (1 / gamma))
    except (np.linalg.LinAlgError, struct.error):
        return None


def matrix_profile(primaries: Primaries, curve: Floats) -> bytes:
    """An ICC profile, version 2, of three primaries and one curve for all of them: encoded 0-1 -> linear 0-1."""
    to_xyz = _to_xyz_d50(primaries)
    levels: bytes = np.round(np.clip(curve, 0, 1) * 65_535).astype(">u2").tobytes()
    table = struct.pack(">4sII", b"curv", 0, len(curve)) + levels
    tags = {b"wtpt": _xyz(_D50), b"rXYZ": _xyz(to_xyz[:, 0]), b"gXYZ": _xyz(to_xyz[:, 1]), b"bXYZ": _xyz(to_xyz[:, 2])}
    offset = 128 + 4 + 12 * (len(tags) + 3)
    index, data = b"", b""
    for name, content in tags.items():
        index += name + struct.pack(">II", offset + len(data), len(content))
        data += content
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        index += name + struct.pack(">II", offset + len(data), len(table))
    body = struct.pack(">I", len(tags) + 3) + index + data + table
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", *_fixed(_D50))
    return header.ljust(128, b"\0") + body


def _to_xyz_d50(primaries: Primaries) -> Floats:
    """float64[3,3]: linear RGB -> XYZ, adapted to D50 as ICC profiles are."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries[1:]]).T
    x, y = primaries.white
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    to_xyz = columns * np.linalg.solve(columns, white)
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted: Floats = np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD @ to_xyz
    return adapted


def _fixed(values: Floats) -> list[int]:
    return [round(float(value) * 65_536) for value in values]


def _xyz(values: Floats) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *_fixed(values))


def _srgb() -> Floats:
    encoded = np.linspace(0, 1, _ENTRIES)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _pq() -> Floats:
    """SMPTE ST 2084, equation 4.1."""
    power = np.linspace(0, 1, _ENTRIES) ** (1 / 78.84375)
    linear = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    return np.asarray(np.minimum(10_000 * linear / _WHITE_CD_M2, 1))


def _hlg() -> Floats:
    """BT.2100, table 5; the system gamma of 1.2 is applied to each channel."""
    encoded = np.linspace(0, 1, _ENTRIES)
    scene = np.where(encoded <= 0.5, encoded**2 / 3, (np.exp((encoded - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return np.asarray(np.minimum(_HLG_PEAK_CD_M2 * scene**1.2 / _WHITE_CD_M2, 1))
