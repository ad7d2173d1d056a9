"""The matplotlib panels, drawn by a process of their own into shared memory.

Without matplotlib: `style`, `place`, `axis`, `trace`; `span` and `spec`, what is shown; `series`, the panels there are;
`history` and `picture`, the two shared pages. With it: `sheet`, `legend`, `frame`, `heat`, `marks`, `panel`.
The doors: `panels` draws in this process, `python -m plots` in one of its own, `Picture` reads what that one drew, and
`figure` makes a file of one panel, `overlay` of several runs over each other.
"""
