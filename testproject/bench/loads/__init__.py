"""The loads: what is done to a server, and what is measured meanwhile."""
