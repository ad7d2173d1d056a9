"""What stands around the canvas: header, pipeline, diagnosis line, status line, help and banners."""
