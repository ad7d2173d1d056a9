"""The matplotlib panels, drawn by a process of their own into shared memory.

Without matplotlib, so that any process can import them: `style` and `geometry`, the look; `number`, `axis` and
`timeline`, values and times; `spec` and `series`, the panels; `history` and `ipc`, what is shared with the session.
With matplotlib: `sheet`, `legend`, `heat`, `marks`, `panel` and `bars`.
Entry points: `python -m plots` and `ipc.Picture` for live panels, `panels` for pictures of one run, `overlay` for
several runs in one picture.
"""
