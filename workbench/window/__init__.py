"""The window: shows a session and lets the user control it, with pygame. It reads frozen views and never blocks.

`shell.window` handles events, time and the session; `toolkit.routing` decides which view gets an event; `shell.layout`
places all views (`toolkit.arrangement`) and draws them; `overview.overlay` puts the overlays on top. A view remembers
what it drew and draws what differs (`toolkit.view`). `toolkit` also has the painter, the themes, the key bindings and
the wording of numbers and terms. The entry point is `shell.window.Window`.
"""
