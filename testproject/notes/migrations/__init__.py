"""Migrations of Field Notes."""
