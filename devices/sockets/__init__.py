"""A fleet over WebSockets: dialing, redialing, and the compiled pass over its sockets."""
