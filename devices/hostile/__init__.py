"""Clients that misbehave, each in one way: what a server must tolerate or end, without its other clients noticing."""
