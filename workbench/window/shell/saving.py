"""What the window saves: screenshots, and the present settings as a scenario file or on the clipboard."""

import io
import re
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.output_file import write_atomically
from workbench.window.toolkit.display import pygame


def free_path(folder: Path, scenario_name: str, ending: str) -> Path:
    """The first path that does not exist: for "-{:03}.png" `first_light-001.png`, `first_light-002.png` and so on."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", scenario_name).strip("._") or "canvas"
    return next(path for number in count(1) if not (path := folder / (stem + ending.format(number))).exists())


def save_png(surface: pygame.Surface, path: Path) -> None:
    """Write the picture as PNG, whatever the suffix of `path`. Raises RunError."""
    file = io.BytesIO()  # Given a file, pygame would print each failing write to stderr.
    pygame.image.save(surface, file, "picture.png")
    write_atomically(path, file.getvalue())


def rgb_of(surface: pygame.Surface) -> NDArray[np.uint8]:
    """A copy of the picture as red, green and blue, shape (height, width, 3)."""
    width, height = surface.get_size()
    return np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8).reshape(height, width, 3)


def put_on_clipboard(text: str) -> bool:
    """Copy the text to the clipboard. False without a clipboard or a window that could own it."""
    if not pygame.display.get_init():
        return False
    try:
        pygame.scrap.put_text(text)
    except pygame.error:  # The display has no clipboard; the file is enough.
        return False
    return True
