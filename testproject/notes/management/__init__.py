"""Management commands of Field Notes."""
