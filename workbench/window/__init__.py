"""The window: what a person sees of a session, drawn by pygame. It looks at frozen views and is never waited for.

Layers, each importing only from those to its right:
`window -> header, canvas_view, panels_view, status_line, banner, loading, overlay -> pen -> theme -> toolkit`;
`arrangement` says where each goes, `keys` what the keyboard does, `figure` how numbers are written.
The door is `window.Window`.
"""
