"""Listening sockets, and limits for each source address."""
