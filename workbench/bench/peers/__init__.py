"""Public WebSocket libraries as servers that only count, each a process that a session runs in its server's place."""
