"""The column of knobs: sliders, buttons, choices and the load curve."""
