"""Devices: live capture, serial pilot, capture files, and their twins. The only folder that opens devices and
captures."""
