"""Screenshots: a picture of the window as a PNG file, or as an array for whoever makes a film of it."""

import io
import re
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.output_file import write_atomically
from workbench.window.toolkit.toolkit import pygame


def free_path(folder: Path, scenario_name: str) -> Path:
    """The first of `first_light-001.png`, `first_light-002.png`, ... that is not there yet."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", scenario_name).strip("._") or "canvas"
    return next(path for number in count(1) if not (path := folder / f"{stem}-{number:03}.png").exists())


def save_png(surface: pygame.Surface, path: Path) -> None:
    """Write the picture, whatever the suffix of `path`. Raises RunError with the path and the reason."""
    file = io.BytesIO()  # Handed a file, pygame would print every write that fails.
    pygame.image.save(surface, file, "picture.png")
    write_atomically(path, file.getvalue())


def rgb_of(surface: pygame.Surface) -> NDArray[np.uint8]:
    """The picture's red, green and blue, shape (height, width, 3), a copy."""
    width, height = surface.get_size()
    return np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8).reshape(height, width, 3)
