"""A fleet that shares memory with the server instead of sockets."""
