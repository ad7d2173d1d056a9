"""The server that one writes first, to compare with: one asyncio task per connection and one queue."""
