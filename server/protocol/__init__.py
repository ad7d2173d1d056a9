"""The wire: canvas messages, WebSocket frames and the sans-I/O connection. Bytes and time in, events and bytes out."""
