"""What Channels does wrong, shown on Channels itself and on this package."""
