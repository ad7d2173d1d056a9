"""A recording's arrivals again: what each tick changed is placed at its time, at a present server."""
