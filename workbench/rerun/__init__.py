"""A recording's arrivals once more: what each tick changed is placed again, at its time, at a server of today."""
