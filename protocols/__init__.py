"""Bytes to events: capture files, Ethernet, HomePlug and SLAC, IPv6, TCP, TLS, SDP, V2GTP, EXI, control pilot. Pure."""
