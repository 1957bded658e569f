"""Who may open a connection."""
