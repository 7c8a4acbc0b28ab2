"""The plugtap command: one file a sub-command; parses, calls, prints."""
