"""What can be turned while a run goes on: knobs with undo and redo, and the playhead of a replay."""
