"""The door to pygame, and the surfaces it gives: a window on a display, or a picture without one.

Only the display and the typeface parts of pygame are ever started: no sound, no joystick.
"""

import os
import sys

# All are read when pygame starts. Its greeting would be the first line of every command's output; a software picture
# that goes by way of an emulated graphics card costs several times the processor it needs; and how a signal ends the
# session is the caller's to say, not SDL's.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")

import pygame

_DRIVERS = {"x11": "DISPLAY", "wayland": "WAYLAND_DISPLAY"}

__all__ = ["Display", "NoDisplay", "offscreen", "pygame"]


class NoDisplay(Exception):
    """There is no screen to open a window on."""


class Display:
    """A resizable window of `size` pixels, or as large as the screen if that is smaller. Raises NoDisplay."""

    def __init__(self, title: str, size: tuple[int, int], size_min: tuple[int, int]) -> None:
        _choose_driver()
        try:
            pygame.display.init()
            screen = pygame.display.get_desktop_sizes()[0]
            shown = (min(size[0], screen[0]), min(size[1], screen[1]))
            self._window = pygame.Window(title, shown, resizable=True)
        except pygame.error as error:
            pygame.display.quit()
            where = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "SDL_VIDEODRIVER"
            raise NoDisplay(_no_display(f"{where} does not open ({error})")) from error
        self._window.minimum_size = (min(size_min[0], shown[0]), min(size_min[1], shown[1]))
        self._full_screen = False
        pygame.display.set_allow_screensaver(True)

    @property
    def surface(self) -> pygame.Surface:
        """What is drawn on and shown by `show`; another one after a change of size."""
        return self._window.get_surface()

    def show(self) -> None:
        """Bring the surface to the display."""
        self._window.flip()

    def set_title(self, title: str) -> None:
        """What the desktop calls the window."""
        self._window.title = title

    def set_icon(self, icon: pygame.Surface) -> None:
        """The mark of the window on the desktop."""
        self._window.set_icon(icon)

    def toggle_full_screen(self) -> None:
        """Take the whole screen, or give it back. What the surface showed is lost."""
        self._full_screen = not self._full_screen
        if self._full_screen:
            self._window.set_fullscreen(desktop=True)
        else:
            self._window.set_windowed()

    def close(self) -> None:
        """Close the window; its surface is gone."""
        self._window.destroy()
        pygame.display.quit()


def _choose_driver() -> None:
    """Have SDL try only the displays that there are. Raises NoDisplay when there is none.

    Left to itself it ends at a driver that shows nothing, by way of libraries that complain on the standard error.
    """
    if "SDL_VIDEODRIVER" in os.environ or sys.platform in ("darwin", "win32"):
        return
    drivers = [driver for driver, variable in _DRIVERS.items() if os.environ.get(variable)]
    if not drivers:
        raise NoDisplay(_no_display(f"neither {' nor '.join(_DRIVERS.values())} is set"))
    os.environ["SDL_VIDEODRIVER"] = ",".join(drivers)


def _no_display(reason: str) -> str:
    """One line: what is missing and what to do."""
    return (
        f"no display to open a window on: {reason}; use --headless, or --headless --screenshot FILE.png for a picture"
    )


def offscreen(size: tuple[int, int]) -> pygame.Surface:
    """A picture in memory of the same pixel format as a window's; needs no display."""
    return pygame.Surface(size, depth=32)
