"""Rules over events and sessions that give findings and verdicts. Pure."""
