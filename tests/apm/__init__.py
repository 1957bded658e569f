"""Monitoring tools on the handler; each test runs a process of its own."""
