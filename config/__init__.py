"""Settings as typed data: the commented default file, validation with errors that name key, value and remedy."""
