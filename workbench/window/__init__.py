"""The window: what a person sees of a session and works it with, by pygame. It looks at frozen views and is never
waited for.

`window` takes events, time and the session; `routing` says which view an event is for; `frame` holds all views in
their places (`arrangement`) and draws them; `stack` lays the overlays on top. A view keeps what it drew, and draws what
differs (`scene`: `Drawable`, `Handler`). Under them are `widget` and `slider`, `pen`, `theme` and `toolkit`;
`keys` says what the keyboard does, `glossary` what the words mean, `figure` how numbers are written.
The door is `window.Window`.
"""
