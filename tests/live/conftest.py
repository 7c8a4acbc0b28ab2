"""Puts this folder on the path, so that its tests find live_tools."""
