"""Screenshots: a picture of the window as a PNG file."""

import re
from itertools import count
from pathlib import Path

from workbench.window.toolkit import pygame


def free_path(folder: Path, scenario_name: str) -> Path:
    """The first of `first_light-001.png`, `first_light-002.png`, ... that is not there yet."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", scenario_name).strip("._") or "canvas"
    return next(path for number in count(1) if not (path := folder / f"{stem}-{number:03}.png").exists())


def save_png(surface: pygame.Surface, path: Path) -> None:
    """Write the picture, whatever the suffix of `path`. Raises OSError with the path and the reason."""
    with path.open("wb") as file:
        pygame.image.save(surface, file, "picture.png")
