"""What devices paint: pixel and colour from the device's number, the placement's number and its intended time.

Pure functions of these, the canvas size and the seed; only `life` reads a board that is computed beside it. The pixel
always lies on the canvas, and the colour is a palette index.
"""

import math

import numpy as np

from devices.kernels.layout import REGION_REACH, Pattern, Region
from devices.kernels.random import advance, mix, seeded, unit
from devices.kernels.scene import scene_color, wave
from server.kernels.kernel import kernel
from server.palette import CUBE_FIRST, CUBE_LEVELS, HEAT_COUNT, HEAT_FIRST, WHITE

_SENSOR_FIELD, _IMAGE, _LIFE = int(Pattern.SENSOR_FIELD), int(Pattern.IMAGE), int(Pattern.LIFE)
_HOTSPOT = int(Pattern.HOTSPOT)
_AROUND = int(Region.AROUND)
_PATCH_SIDE = 2 * REGION_REACH + 1
_PATCH_STRIDE = 367
_CUBE_COUNT = CUBE_LEVELS[0] * CUBE_LEVELS[1] * CUBE_LEVELS[2]
_KNEE = 0.66
_BLOBS = (
    # Weight, radius, then turns a second and phase of the way across and of the way down.
    (0.74, 0.24, 0.019, 0.10, 0.029, 0.35),
    (0.66, 0.20, 0.027, 0.62, 0.018, 0.80),
    (0.58, 0.16, 0.037, 0.27, 0.023, 0.05),
    (-0.50, 0.24, 0.023, 0.80, 0.033, 0.55),
    (-0.44, 0.18, 0.017, 0.45, 0.038, 0.20),
)


@kernel
def scatter_bits(pixels):
    """Bits of the smallest power of two >= `pixels`; at least 2."""
    bits = 2
    while 1 << bits < pixels:
        bits += 1
    return bits


@kernel
def _scattered(index, pixels, bits):
    """A fixed permutation of 0..pixels-1 without visible order: shuffle a power of two, repeat while outside."""
    # Odd multipliers and xor-shifts are bijections of a power of two; repeating while outside keeps it one of `pixels`.
    mask, half = (1 << bits) - 1, bits >> 1
    while True:
        index = (index * 0x2545F491 + 0x9E37) & mask
        index ^= index >> half
        index = (index * 0x5851F42D + 0x1B56) & mask
        index ^= index >> half
        if index < pixels:
            return index


@kernel
def home_pixel(settings, d):
    """The first pixel that device d owns, y * width + x."""
    pixels = np.int64(settings.width) * np.int64(settings.height)
    return _scattered(d % pixels, pixels, np.int64(settings.scatter_bits))


@kernel
def _near(home, width, height, sequence):
    """A pixel of the patch around `home`, cut to the canvas: each in turn, successive ones far apart."""
    step = sequence * _PATCH_STRIDE % (_PATCH_SIDE * _PATCH_SIDE)
    x = home % width + step % _PATCH_SIDE - REGION_REACH
    y = home // width + step // _PATCH_SIDE - REGION_REACH
    return min(max(y, 0), height - 1) * width + min(max(x, 0), width - 1)


@kernel
def owned_pixel(settings, d, sequence):
    """The pixel, y * width + x, that device d paints at `sequence`: its own pixels in turn.

    Each pixel has one owner (with more devices than pixels, several). A round of placements is scattered over the
    canvas, so that a picture develops everywhere at once. A device that watches its surroundings paints around its
    first pixel, so that it sees its own placements.
    """
    pixels = np.int64(settings.width) * np.int64(settings.height)
    devices = max(np.int64(settings.device_count), 1)
    index = d % pixels
    if settings.region == _AROUND:
        return _near(home_pixel(settings, d), np.int64(settings.width), np.int64(settings.height), sequence)
    # Device d owns the indices d, d + devices, d + 2 x devices, ...
    if devices < pixels:
        owned = (pixels - index + devices - 1) // devices
        index = d + devices * (sequence % owned)
    return _scattered(index, pixels, np.int64(settings.scatter_bits))


@kernel
def heat_at(x, y, width, height, seconds):
    """Heat, 0 to 1, of the sensor field at a pixel: five moving soft blobs on a slow wave."""
    scale = 1.0 / max(width, height)
    u, v = (x + 0.5) * scale, (y + 0.5) * scale
    across, down = width * scale, height * scale
    heat = 0.34 + 0.07 * wave(1.3 * u + 0.6 * v - 0.11 * seconds) + 0.05 * wave(2.1 * v - 1.1 * u + 0.07 * seconds)
    for weight, radius, speed_x, phase_x, speed_y, phase_y in _BLOBS:
        du = u - across * (0.5 + 0.46 * wave(speed_x * seconds + phase_x))
        dv = v - down * (0.5 + 0.46 * wave(speed_y * seconds + phase_y))
        fall = 1.0 + (du * du + dv * dv) / (radius * radius)
        heat += weight / (fall * fall)
    if heat > _KNEE:  # Compress the top, so that overlapping blobs do not clip to a flat patch.
        over = (heat - _KNEE) / (1.0 - _KNEE)
        heat = _KNEE + (1.0 - _KNEE) * over / (1.0 + 0.55 * over)
    return min(max(heat, 0.0), 1.0)


@kernel
def heat_color(heat):
    """Palette index of a heat, 0 to 1."""
    return HEAT_FIRST + np.int64(heat * (HEAT_COUNT - 1) + 0.5)


@kernel
def hue_color(turns, light):
    """Cube colour of a hue (in turns) at full saturation and a lightness of 0..1."""
    index = 0
    for channel in range(3):
        levels = CUBE_LEVELS[channel] - 1
        level = min(max(0.5 + 0.72 * wave(turns + 0.25 - channel / 3.0), 0.0), 1.0) * light
        index = index * CUBE_LEVELS[channel] + np.int64(level * levels + 0.5)
    return CUBE_FIRST + index


@kernel
def _hotspot(settings, d, sequence, seconds):
    """A Gaussian cloud around a spot that moves along a slow curve, in a slowly changing hue."""
    width, height = np.int64(settings.width), np.int64(settings.height)
    word = seeded(settings.seed ^ np.uint64(sequence), np.uint64(d))
    radius = math.sqrt(-2.0 * math.log(unit(word)))
    turns = unit(advance(word))
    sigma = 0.045 * min(width, height)
    x = width * (0.5 + 0.36 * wave(0.041 * seconds)) + sigma * radius * wave(turns)
    y = height * (0.5 + 0.34 * wave(0.063 * seconds + 0.2)) + sigma * radius * wave(turns + 0.25)
    color = WHITE if radius < 0.4 else hue_color(0.035 * seconds, 1.0 - 0.15 * min(radius, 3.0))
    return min(max(np.int64(x), 0), width - 1), min(max(np.int64(y), 0), height - 1), color


@kernel
def paint(settings, board, ridges, d, sequence, time_ns):
    """What device d paints as placement `sequence`, intended for `time_ns`: (x, y, color) int64.

    settings: a SETTINGS record; board and ridges as in `layout.Arrays`; all read only. The pixel is taken modulo or
    clamped to the canvas. The arrays are separate arguments because passing all of `Arrays` costs more than a paint.
    """
    width, height = np.int64(settings.width), np.int64(settings.height)
    seconds = (time_ns - settings.started_ns) * 1e-9
    if settings.pattern == _HOTSPOT:
        return _hotspot(settings, d, sequence, seconds)
    if settings.pattern > _HOTSPOT:
        word = mix(seeded(settings.seed ^ np.uint64(sequence), np.uint64(d)))
        pixel = np.int64((word >> np.uint64(20)) % np.uint64(width * height))
        color = CUBE_FIRST + np.int64((word & np.uint64(0xFFFFF)) % np.uint64(_CUBE_COUNT))
        return pixel % width, pixel // width, color
    pixel = owned_pixel(settings, d, sequence)
    y = pixel // width
    x = pixel - y * width
    if settings.pattern == _LIFE:
        return x, y, np.int64(board[y, x])
    if settings.pattern == _IMAGE:
        return x, y, scene_color(ridges, x, y, width, height, seconds)
    heat = heat_at(x, y, width, height, seconds)
    return x, y, heat_color(heat)


_AGE_MAX = 30_000
# Generations for which a dead cell keeps a fading colour.
_TRAIL = 14


@kernel
def next_generation(ages, following):
    """Write the generation of Conway's life after `ages` to `following`, both (height, width) i2, different arrays.

    n > 0 has lived n generations, n < 0 has been dead -n generations; both stop at _AGE_MAX. Returns the number of
    living cells. Cost: nine reads per cell. Neighbours are taken modulo the size.
    """
    height, width = ages.shape
    living = 0
    for y in range(height):
        above, below = (y - 1) % height, (y + 1) % height
        for x in range(width):
            left, right = (x - 1) % width, (x + 1) % width
            around = 0
            around += (ages[above, left] > 0) + (ages[above, x] > 0) + (ages[above, right] > 0)
            around += (ages[y, left] > 0) + (ages[y, right] > 0)
            around += (ages[below, left] > 0) + (ages[below, x] > 0) + (ages[below, right] > 0)
            age = ages[y, x]
            # Conway's rule: birth with three neighbours, survival with two or three.
            if around == 3 or (around == 2 and age > 0):
                following[y, x] = min(age + 1, _AGE_MAX) if age > 0 else 1
                living += 1
            else:
                following[y, x] = max(age - 1, -_AGE_MAX) if age < 0 else -1
    return living


@kernel
def color_ages(ages, board):
    """Write each cell's palette index to `board`, (height, width) u1: hot at birth, cooler with age."""
    for y in range(ages.shape[0]):
        for x in range(ages.shape[1]):
            age = np.int64(ages[y, x])
            heat = 0
            if age > 0:
                heat = max(HEAT_COUNT - 1 - 3 * (age - 1), 30)
            elif -age < _TRAIL:
                heat = 22 * (_TRAIL + age) // _TRAIL
            board[y, x] = HEAT_FIRST + heat
