"""One command's runs: a session shown in the window or as a live table, and the guided tour."""
