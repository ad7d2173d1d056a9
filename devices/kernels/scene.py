"""A landscape as a function: mountains over a lake, by day, sunset, starry night and dawn, in four minutes.

Colours are floats, 0 to 1, until the last step dithers them to the palette's cube, whose steps are coarse: the
threshold of a pixel never changes, so that a still scene does not flicker. A pure function of pixel and time.
"""

import math

import numpy as np

from devices.kernels.random import mix
from server.kernels.kernel import kernel
from server.palette import CUBE_FIRST, CUBE_LEVELS

DAY_SECONDS = 240.0
# Where the water begins, 0 top to 1 bottom.
HORIZON = 0.66

# Colours of the sky, zenith and horizon, at heights of the sun: night, deep dusk, sunset, low sun, day.
_SUN_HEIGHTS = np.array([-0.55, -0.22, 0.0, 0.22, 0.7])
_ZENITH = np.array([[0.02, 0.03, 0.16], [0.11, 0.07, 0.33], [0.25, 0.17, 0.46], [0.22, 0.40, 0.72], [0.16, 0.45, 0.86]])
_LOW_SKY = np.array([[0.09, 0.12, 0.33], [0.52, 0.20, 0.42], [1.0, 0.50, 0.24], [1.0, 0.82, 0.56], [0.72, 0.88, 0.98]])
_LAND = np.array([[0.02, 0.03, 0.10], [0.09, 0.04, 0.16], [0.17, 0.07, 0.17], [0.13, 0.20, 0.20], [0.12, 0.28, 0.18]])


@kernel
def wave(turns):
    """A smooth wave, -1 to 1, of period 1: two parabolas, within 6 % of a sine and several times faster."""
    turn = turns - math.floor(turns)
    if turn < 0.5:
        return 16.0 * turn * (0.5 - turn)
    return -16.0 * (turn - 0.5) * (1.0 - turn)


@kernel
def _grain(x, y):
    """A fixed random number in [0, 1) for a lattice point."""
    return np.float64(mix(np.uint64(x * 73856093 + y * 19349663 + 7)) >> np.uint64(40)) / 16777216.0


@kernel
def _smooth_noise(x, y):
    """Value noise in [0, 1): lattice grains, smoothly joined."""
    column, row = math.floor(x), math.floor(y)
    fx, fy = x - column, y - row
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    i, j = np.int64(column) + 4096, np.int64(row) + 4096
    top = _grain(i, j) * (1 - fx) + _grain(i + 1, j) * fx
    bottom = _grain(i, j + 1) * (1 - fx) + _grain(i + 1, j + 1) * fx
    return top * (1 - fy) + bottom * fy


@kernel
def _blend(table, height, channel):
    """A channel of a colour table at a height of the sun, linear between its rows, constant outside."""
    last = len(_SUN_HEIGHTS) - 1
    if height <= _SUN_HEIGHTS[0]:
        return table[0, channel]
    for i in range(last):
        if height < _SUN_HEIGHTS[i + 1]:
            ratio = (height - _SUN_HEIGHTS[i]) / (_SUN_HEIGHTS[i + 1] - _SUN_HEIGHTS[i])
            return table[i, channel] * (1 - ratio) + table[i + 1, channel] * ratio
    return table[last, channel]


@kernel
def sun_at(seconds):
    """Where the sun stands: (turns of the day, across 0..1 of the width, height -1..1 over the horizon)."""
    turns = seconds / DAY_SECONDS + 0.22  # The show begins before noon; the sun sets a minute later.
    angle = 2 * math.pi * (turns - math.floor(turns))
    return turns, 0.5 + 0.30 * -math.cos(angle), math.sin(angle)


@kernel
def _disc(distance, radius, soft):
    """1 within a disc, 0 outside, with an edge `soft` wide."""
    return min(max((radius - distance) / soft + 0.5, 0.0), 1.0)


@kernel
def _sky(u, v, aspect, seconds, x, y):
    """Colour of the sky at u across (0..1), v down (0..HORIZON): gradient, glow, clouds, sun, moon and stars."""
    _, sun_u, sun_height = sun_at(seconds)
    depth = min(max(v / HORIZON, 0.0), 1.0)
    ease = depth * depth * (0.45 + 0.55 * depth)
    sun_v = HORIZON * (0.93 - 0.80 * sun_height)
    sun_distance = math.hypot((u - sun_u) * aspect, v - sun_v)
    # 1 with the sun on the horizon, 0 by day and by night.
    warm = max(0.0, 1.0 - abs(sun_height) * 2.6)
    glow = warm * math.exp(-sun_distance * 3.4) + 0.25 * max(sun_height, 0.0) * math.exp(-sun_distance * 9.0)
    night = min(max(-sun_height * 3.2 - 0.15, 0.0), 1.0)
    red = _blend(_ZENITH, sun_height, 0) * (1 - ease) + _blend(_LOW_SKY, sun_height, 0) * ease + 0.75 * glow
    green = _blend(_ZENITH, sun_height, 1) * (1 - ease) + _blend(_LOW_SKY, sun_height, 1) * ease + 0.38 * glow
    blue = _blend(_ZENITH, sun_height, 2) * (1 - ease) + _blend(_LOW_SKY, sun_height, 2) * ease + 0.02 * glow
    drift = seconds * 0.045
    cloud = _smooth_noise(u * 3.2 * aspect - drift, v * 15.0) * 0.62
    cloud += _smooth_noise(u * 8.5 * aspect - drift * 1.7 + 31.0, v * 34.0) * 0.38
    cloud = min(max((cloud - 0.52) * 4.2, 0.0), 1.0) * (0.35 + 0.65 * depth) * (1.0 - depth * depth * 0.6)
    lit = 0.30 + 0.70 * min(max(sun_height * 2.2 + 0.75, 0.0), 1.0)
    cloud *= 0.62
    red = red * (1 - cloud) + cloud * lit * min(1.0, 0.62 + 0.38 * (1 - night))
    green = green * (1 - cloud) + cloud * lit * (0.94 - 0.48 * warm - 0.40 * night)
    blue = blue * (1 - cloud) + cloud * lit * (0.98 - 0.52 * warm + 0.02 * night)
    if night > 0.0:
        # About one pixel in 120 is a star; its other digits choose how fast it twinkles and how bright it is.
        star = _grain(x * 3 + 11, y * 5 + 17)
        if star > 0.9915:
            twinkle = 0.62 + 0.38 * wave(seconds * (0.12 + 0.3 * (star * 977.0 % 1.0)) + star * 131.0)
            light = night * twinkle * (1 - cloud) * (1.0 - 0.75 * ease) * (0.45 + 0.55 * (star * 3331.0 % 1.0))
            red, green, blue = red + light, green + light * 0.97, blue + light * 0.92
        moon_distance = math.hypot((u - (1.0 - sun_u)) * aspect, v - HORIZON * (0.93 + 0.86 * sun_height))
        moon = _disc(moon_distance, 0.052, 0.012)
        halo = night * 0.34 * math.exp(-moon_distance * 7.5)
        crater = 0.86 + 0.14 * _smooth_noise(u * 60.0 * aspect, v * 60.0)
        red = red * (1 - moon) + moon * 0.98 * crater + halo * 0.7
        green = green * (1 - moon) + moon * 0.96 * crater + halo * 0.8
        blue = blue * (1 - moon) + moon * 0.84 * crater + halo
    sun = _disc(sun_distance, 0.070, 0.014)
    red = red * (1 - sun) + sun
    green = green * (1 - sun) + sun * (0.93 - 0.16 * warm)
    blue = blue * (1 - sun) + sun * (0.78 - 0.42 * warm)
    return red, green, blue


@kernel
def _land_and_sky(ridges, u, v, aspect, seconds, x, y):
    """Colour above the water: the sky behind three ranges, each nearer one darker and less hazy than the last."""
    width = ridges.shape[1]
    column = min(max(np.int64(u * width), 0), width - 1)
    _, sun_u, sun_height = sun_at(seconds)
    for layer in range(2, -1, -1):
        top = ridges[layer, column]
        if v < top:
            continue
        haze = (0.62, 0.34, 0.10)[layer] * (0.72 + 0.5 * min(max((v - top) / 0.22, 0.0), 1.0))
        red = _blend(_LAND, sun_height, 0) * (1 - haze) + _blend(_LOW_SKY, sun_height, 0) * haze * 0.86
        green = _blend(_LAND, sun_height, 1) * (1 - haze) + _blend(_LOW_SKY, sun_height, 1) * haze * 0.80
        blue = _blend(_LAND, sun_height, 2) * (1 - haze) + _blend(_LOW_SKY, sun_height, 2) * haze * 0.94
        slope = ridges[layer, min(column + 2, width - 1)] - ridges[layer, max(column - 2, 0)]
        facing = slope * (1.0 if sun_u > u else -1.0) * -width * 0.10
        snow_line = 0.40 + 0.05 * _smooth_noise(u * 46.0, v * 30.0)
        if layer == 0:
            snow = min(max((snow_line - v) * 22.0, 0.0), 1.0) * (0.58 + 0.42 * _smooth_noise(u * 70.0, v * 45.0))
            light = min(max(0.62 + facing, 0.30), 1.05) * (0.42 + 0.58 * min(max(sun_height * 2.5 + 0.75, 0.0), 1.0))
            warm = max(0.0, 1.0 - abs(sun_height) * 2.6)
            red = red * (1 - snow) + snow * light
            green = green * (1 - snow) + snow * light * (0.96 - 0.34 * warm)
            blue = blue * (1 - snow) + snow * light * (1.0 - 0.34 * warm)
        shade = 1.0 + 0.25 * min(max(facing, -1.0), 1.0)
        return red * shade, green * shade, blue * shade
    return _sky(u, v, aspect, seconds, x, y)


@kernel
def scene_rgb(ridges, x, y, width, height, seconds):
    """The scene's colour at a pixel, each channel about 0 to 1. ridges: (RIDGES, width) f4, 0 top to 1 bottom."""
    u, v, aspect = (x + 0.5) / width, (y + 0.5) / height, np.float64(width) / height
    _, sun_u, sun_height = sun_at(seconds)
    if v >= ridges[3, x]:  # The near shore with its firs.
        rim = 0.10 * max(0.0, 1.0 - abs(sun_height) * 2.6) * _disc(v - ridges[3, x], 0.006, 0.01)
        dark = 0.55
        return (
            _blend(_LAND, sun_height, 0) * dark + rim,
            _blend(_LAND, sun_height, 1) * dark + rim * 0.4,
            _blend(_LAND, sun_height, 2) * dark,
        )
    if v < HORIZON:
        return _land_and_sky(ridges, u, v, aspect, seconds, x, y)
    depth = (v - HORIZON) / (1.0 - HORIZON)
    ripple = wave(depth * 9.0 / (0.25 + depth) + seconds * 0.35 + 0.6 * wave(u * 2.3 + seconds * 0.05))
    fine = _smooth_noise(u * aspect * 16.0 + seconds * 0.25, v * 110.0 - seconds * 0.7) - 0.5
    shift = (0.006 * ripple + 0.028 * fine) * (0.35 + depth)
    mirrored = HORIZON - (v - HORIZON) * 1.55 + shift * 0.9
    red, green, blue = _land_and_sky(ridges, u + shift, mirrored, aspect, seconds, x // 2 * 2, -1)
    dim = 0.80 - 0.26 * depth + 0.07 * ripple
    light_u = sun_u if sun_height > -0.12 else 1.0 - sun_u
    column = math.exp(-(((u - light_u) * aspect / (0.035 + 0.11 * depth)) ** 2))
    strength = 0.85 * max(0.0, 1.0 - abs(sun_height) * 1.3) if sun_height > -0.12 else 0.5
    glint = column * strength * min(max(fine * 4.0 + 0.25 + 0.35 * ripple, 0.0), 1.0)
    warm = max(0.0, 1.0 - abs(sun_height) * 2.6)
    return (
        red * dim * 0.92 + glint,
        green * dim * 0.96 + glint * (0.92 - 0.30 * warm),
        blue * dim + 0.02 + glint * (0.88 - 0.52 * warm),
    )


@kernel
def scene_color(ridges, x, y, width, height, seconds):
    """The palette index of the scene at a pixel: its colour dithered to the cube. Returns int64."""
    red, green, blue = scene_rgb(ridges, x, y, width, height, seconds)
    # Interleaved gradient noise: its thresholds are even over each 3 x 3 pixels, finer to the eye than a Bayer grid.
    threshold = 52.9829189 * ((0.06711056 * x + 0.00583715 * y) % 1.0) % 1.0
    index = 0
    for channel in range(3):
        value = red if channel == 0 else (green if channel == 1 else blue)
        levels = CUBE_LEVELS[channel] - 1
        level = np.int64(min(max(value, 0.0), 1.0) * levels + threshold * 0.98 + 0.01)
        index = index * CUBE_LEVELS[channel] + min(level, levels)
    return CUBE_FIRST + index
