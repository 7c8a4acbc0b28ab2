"""The heart: Analysis runs protocols, sessions and checks over the items of one tap. Pure."""
