"""What all views share: pygame, theme, text, layout, focus, keys, tooltips and the scene they show."""
