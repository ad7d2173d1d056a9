"""What processes share: pages of memory and messages over pipes."""
