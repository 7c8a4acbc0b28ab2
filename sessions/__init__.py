"""Events to sessions: parties, phases, attempts, outcome, coverage. Pure."""
