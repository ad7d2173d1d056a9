"""The matplotlib panels, drawn by a process of their own into shared memory.

Layers, each importing only from those before it: `style`, `axis`, `place`, `trace`; `series`; `panel`; `panels`; beside
them `history` and `picture`, the two shared pages, without matplotlib; on top `__main__`.
The doors: `Panels` draws in this process, `python -m plots` in one of its own, `Picture` reads what that one drew.
"""
