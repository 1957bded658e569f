"""The consumers that people subclass."""
