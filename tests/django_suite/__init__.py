"""Django's own tests, run with this package's handler in the place of Django's."""
