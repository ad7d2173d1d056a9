"""The tick and its broadcast over the canvas, without sockets."""
