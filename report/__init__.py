"""Sessions and findings to text and JSON. Pure."""
