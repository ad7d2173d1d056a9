"""The shells that move bytes between sockets and the engine. A loop owns its connections; nothing else touches them."""
