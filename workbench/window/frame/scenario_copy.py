"""The present settings as a scenario: a TOML file in a folder, and on the desktop's clipboard where there is one."""

import re
from itertools import count
from pathlib import Path

from workbench.window.toolkit.toolkit import pygame


def free_toml_path(folder: Path, scenario_name: str) -> Path:
    """The first of `first_light-1.toml`, `first_light-2.toml`, ... that is not there yet."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", scenario_name).strip("._") or "scenario"
    return next(path for number in count(1) if not (path := folder / f"{stem}-{number}.toml").exists())


def put_on_clipboard(text: str) -> bool:
    """False where there is no clipboard, or no window that it would belong to."""
    if not pygame.display.get_init():
        return False
    try:
        pygame.scrap.put_text(text)
    except pygame.error:  # The display has no clipboard: the file is there all the same.
        return False
    return True
