"""EXI codec for V2G messages over compact grammar tables. Pure."""
