"""The only module that imports pygame, and its surfaces: a window on a display, or a picture in memory.

Only pygame's display and font modules are initialised: no sound, no joystick.
"""

import os
import sys

# All are read when pygame starts. Its greeting would be the first line of every command's output. A software picture
# that goes through an emulated GPU costs several times the CPU. Signals are handled by the caller, not by SDL.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")

import pygame

_DRIVERS = {"x11": "DISPLAY", "wayland": "WAYLAND_DISPLAY"}

__all__ = ["Display", "NoDisplay", "offscreen", "pygame"]


class NoDisplay(Exception):
    """No display to open a window on."""


class Display:
    """A resizable window of `size` pixels, or of the screen's size if that is smaller. Raises NoDisplay."""

    def __init__(self, title: str, size: tuple[int, int], size_min: tuple[int, int]) -> None:
        _choose_driver()
        try:
            pygame.display.init()
            screen = pygame.display.get_desktop_sizes()[0]
            shown = (min(size[0], screen[0]), min(size[1], screen[1]))
            self._window = pygame.Window(title, shown, resizable=True)
        # SDL's message does not say which display was meant.
        except pygame.error as error:
            pygame.display.quit()
            where = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "SDL_VIDEODRIVER"
            raise NoDisplay(_no_display(f"{where} does not open ({error})")) from error
        # On a screen smaller than the minimum, the window must still fit.
        self._window.minimum_size = (min(size_min[0], shown[0]), min(size_min[1], shown[1]))
        self._full_screen = False
        # SDL inhibits the screen saver by default, as for a game; this window may run for days.
        pygame.display.set_allow_screensaver(True)

    @property
    def surface(self) -> pygame.Surface:
        """What `show` brings to the display. A resize replaces it."""
        return self._window.get_surface()

    def show(self) -> None:
        """Show the surface on the display."""
        self._window.flip()

    def set_title(self, title: str) -> None:
        """Set the title on the desktop."""
        self._window.title = title

    def set_icon(self, icon: pygame.Surface) -> None:
        """Set the icon on the desktop."""
        self._window.set_icon(icon)

    def toggle_full_screen(self) -> None:
        """Switch to full screen or back. The surface loses its content."""
        self._full_screen = not self._full_screen
        if self._full_screen:
            self._window.set_fullscreen(desktop=True)
        else:
            self._window.set_windowed()

    def close(self) -> None:
        """Close the window and its surface."""
        self._window.destroy()
        pygame.display.quit()


def _choose_driver() -> None:
    """Let SDL try only the displays that exist. Raises NoDisplay when there is none.

    Otherwise SDL falls back to a driver that shows nothing, after libraries have complained on stderr.
    """
    # A chosen driver, such as the dummy of the tests, is left alone; other systems have one display.
    if "SDL_VIDEODRIVER" in os.environ or sys.platform in ("darwin", "win32"):
        return
    drivers = [driver for driver, variable in _DRIVERS.items() if os.environ.get(variable)]
    if not drivers:
        raise NoDisplay(_no_display(f"neither {' nor '.join(_DRIVERS.values())} is set"))
    os.environ["SDL_VIDEODRIVER"] = ",".join(drivers)


def _no_display(reason: str) -> str:
    """One line: the fault and the remedy."""
    return (
        f"no display to open a window on: {reason}; use --headless, or --headless --screenshot FILE.png for a picture"
    )


def offscreen(size: tuple[int, int]) -> pygame.Surface:
    """A picture in memory, of a window's pixel format; needs no display."""
    return pygame.Surface(size, depth=32)
