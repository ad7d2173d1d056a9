"""One live run: its processes are started, steered and ended, and its view is put together."""
