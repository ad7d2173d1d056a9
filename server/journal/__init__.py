"""The journal: every tick on disk before anybody is told of it, and a server that goes on from there after a crash."""
