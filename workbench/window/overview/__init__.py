"""The rows around the canvas (header, diagnosis, pipeline, status), and the overlays on top of the picture."""
