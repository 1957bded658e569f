"""The benchmark itself: its arithmetic, its tables, and that it ends what it starts."""
