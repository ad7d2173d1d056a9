"""The canvas on the screen: zoom, overlays, marks and the mouse."""
