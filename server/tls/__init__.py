"""TLS in front of a server: it decrypts accepted sockets, so that every loop serves plain ones."""
