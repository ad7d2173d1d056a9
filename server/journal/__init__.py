"""The journal: each tick is on disk before any client sees it, and after a crash a server continues from there."""
