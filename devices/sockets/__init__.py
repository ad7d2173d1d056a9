"""A fleet over WebSockets: connecting, reconnecting, and the compiled pass over its sockets."""
