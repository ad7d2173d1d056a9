"""Recordings in other formats: videos and animations of the canvas, tables, a log for Foxglove, metrics as text."""
