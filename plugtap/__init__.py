"""plugtap listens to CCS charging sessions from outside and says who broke them, why, and how to fix it."""

__version__ = "0.1.0"
