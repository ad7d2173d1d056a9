"""The map of connections, the card of one, and the journey of its placements."""
