"""Tests of the room ``threads``."""
