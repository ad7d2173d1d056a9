"""The window itself: its layout, the event loop, the canvas area, screenshots and copies."""
