"""The virtual EV and EVSE and the line between them."""
