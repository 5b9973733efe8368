"""Microscope model: point spread, focus, out-of-focus light, registration, illumination.

The point spread function is a sum of two Gaussians. The core has the standard deviation ``0.21
wavelength / NA`` (the best Gaussian fit to a wide-field point spread function; Zhang, Zerubia and
Olivo-Marin 2007, Applied Optics 46:1819), broadened by defocus according to ray optics. The wide
one models light from the other planes of a cell a few micrometres thick.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

F32 = NDArray[np.float32]

WAVELENGTHS = (0.52, 0.69)
"""Emission of the protein label (green) and of the DNA dye (far red), um."""
INDEX = 1.33
"""Refractive index of the medium."""
THICKNESS = 5.0
"""Depth of a cell over which light is collected, um."""


@dataclass(frozen=True, eq=False)
class Optics:
    """Settings of the light path for ``n`` crops; fields are ``(n,)``, lengths in um.

    Attributes
    ----------
    pixel, aperture, stray, defocus
        Pixel size, numerical aperture, fraction of light from other planes, distance from focus.
    shift_x, shift_y
        Shift of the second channel relative to the first.
    """

    pixel: F32
    aperture: F32
    stray: F32
    defocus: F32
    shift_x: F32
    shift_y: F32


def form_image(density: F32, channel: int, optics: Optics) -> F32:
    """Blur densities ``(n, side, side)`` with the point spread function.

    Total light is preserved; the camera model handles the effect of the aperture on brightness.

    Parameters
    ----------
    density
        Light emitted by each pixel.
    channel
        0 protein, 1 nucleus.
    optics
        Settings of the ``n`` crops.
    """
    side = density.shape[-1]
    fy = np.fft.fftfreq(side).astype(np.float32)[None, :, None]
    fx = np.fft.rfftfreq(side).astype(np.float32)[None, None, :]
    squared = fx * fx + fy * fy
    core, wide = widths(channel, optics)
    rate = (-2 * np.pi**2 * np.square(core / optics.pixel)).astype(np.float32)[:, None, None]
    broad = (-2 * np.pi**2 * np.square(wide / optics.pixel)).astype(np.float32)[:, None, None]
    stray = optics.stray[:, None, None]
    transfer = (1 - stray) * np.exp(rate * squared) + stray * np.exp(broad * squared)
    spectrum = fft.rfft2(density)
    spectrum *= transfer
    if channel == 1 and (np.any(optics.shift_x) or np.any(optics.shift_y)):
        turn = np.float32(-2 * np.pi)
        x = np.exp(1j * (turn * fx * (optics.shift_x / optics.pixel)[:, None, None]))
        y = np.exp(1j * (turn * fy * (optics.shift_y / optics.pixel)[:, None, None]))
        spectrum *= x
        spectrum *= y
    image: F32 = fft.irfft2(spectrum, s=(side, side), overwrite_x=True)
    return np.maximum(image, 0)


def widths(channel: int, optics: Optics) -> tuple[F32, F32]:
    """Return the standard deviations of the sharp and the wide Gaussian, um."""
    aperture = np.minimum(optics.aperture, np.float32(0.99 * INDEX))
    slope = aperture / np.sqrt(INDEX**2 - aperture**2)
    diffraction = 0.21 * WAVELENGTHS[channel] / aperture
    # A disc of diameter 2 |z| slope has a standard deviation of |z| slope / 2 along each axis;
    # a pixel integrates over its own width.
    blur = np.abs(optics.defocus) * slope / 2
    core = np.sqrt(diffraction**2 + blur**2 + optics.pixel**2 / 12)
    wide = np.sqrt(core**2 + (THICKNESS * slope / 4) ** 2)
    return core.astype(np.float32), wide.astype(np.float32)


def illuminate(
    image: F32, loss: F32, place: NDArray[np.floating], off: NDArray[np.floating], field: int = 1024
) -> F32:
    """Multiply images by the illumination at their position in the field.

    Parameters
    ----------
    image
        ``(n, side, side)``.
    loss
        ``(n,)`` fraction of light lost between the centre and a corner.
    place
        ``(n, 2)`` centre of the crop in half field widths, -1 .. 1, as (x, y).
    off
        ``(n, 2)`` position of the brightest point, in half field widths.
    field
        Width of the field in pixels.
    """
    side = image.shape[-1]
    axis = (np.arange(side) - (side - 1) / 2) / (field / 2)
    dx = np.square(place[:, 0, None] + axis - off[:, 0, None])[:, None, :]
    dy = np.square(place[:, 1, None] + axis - off[:, 1, None])[:, :, None]
    light = 1 - loss[:, None, None] / 2 * (dx + dy)
    return np.asarray(image * np.maximum(light, 0.05).astype(np.float32))
