"""The canvas server: protocol, compiled stages, loops, telemetry. It imports nothing else of this project.

From the top: `__main__` (a server process of a session), `server` (wires loops to one engine) and `mailbox` (its naive
twin), `loops` (move bytes), `engine` (canvas, tick, broadcast), `journal` (ticks on disk), `protocol` and `kernels`.
The import table of docs/architecture.md has the exact order.
"""
