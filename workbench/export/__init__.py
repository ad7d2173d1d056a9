"""Recordings in the formats of other programs: films of the canvas, tables, a log for Foxglove, figures as text."""
