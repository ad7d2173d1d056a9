"""The door to pygame, and the surfaces it gives: a window on a display, or a picture without one.

Only the display and the typeface parts of pygame are ever started: no sound, no joystick.
"""

import os

# All are read when pygame starts. Its greeting would be the first line of every command's output; a software picture
# that goes by way of an emulated graphics card costs several times the processor it needs; and how a signal ends the
# session is the caller's to say, not SDL's.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")

import pygame

__all__ = ["NoDisplay", "close_display", "full_screen", "offscreen", "open_display", "pygame"]


class NoDisplay(Exception):
    """There is no screen to open a window on."""


def open_display(size: tuple[int, int]) -> pygame.Surface:
    """A resizable window of `size` pixels, or as large as the screen if that is smaller. Raises NoDisplay."""
    try:
        pygame.display.init()
        across, down = pygame.display.get_desktop_sizes()[0]
        surface = pygame.display.set_mode((min(size[0], across), min(size[1], down)), pygame.RESIZABLE)
    except pygame.error as error:
        pygame.display.quit()
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        where = f"display {display!r} does not open" if display else "DISPLAY is not set"
        raise NoDisplay(f"no display to open a window on: {where} ({error}); use --headless") from error
    pygame.display.set_allow_screensaver(True)
    return surface


def full_screen(on: bool, size: tuple[int, int]) -> pygame.Surface:
    """Take the whole screen, or go back to a window of `size`."""
    if on:
        return pygame.display.set_mode((0, 0), pygame.FULLSCREEN)
    return pygame.display.set_mode(size, pygame.RESIZABLE)


def offscreen(size: tuple[int, int]) -> pygame.Surface:
    """A picture in memory of the same pixel format as a window's; needs no display."""
    return pygame.Surface(size, depth=32)


def close_display() -> None:
    """Close the window. Surfaces in memory stay valid."""
    pygame.display.quit()
