"""The canvas server: protocol, compiled stages, loops, telemetry. It imports nothing else of this project.

Layers, top down: `__main__` (a server process of a session) > `server` (wires loops to one engine) > `loops`
(move bytes) > `handover` (the slow path) > `engine`, `broadcast`, `canvas` > `kernels` > `protocol`, `control`,
`page`, `clock`, `config`.
"""
