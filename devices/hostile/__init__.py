"""Clients that misbehave, each in one way: what a server must bear or end, without anybody else noticing."""
