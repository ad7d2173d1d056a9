"""The playback bar of a replay."""
