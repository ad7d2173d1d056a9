"""TLS in front of a server: whatever loop it has, it serves plain sockets, and this makes them of encrypted ones."""
