"""Numbers read from shared pages for a view: a connection, a tile, a journey."""
