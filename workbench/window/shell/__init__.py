"""The window itself: its event loop, its layout, the canvas area, and the files it saves."""
