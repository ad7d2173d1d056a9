"""HTTP routes beside the WebSocket: the page, pictures, metrics, health, and who has access to what."""
