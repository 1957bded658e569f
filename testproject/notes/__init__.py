"""Field Notes: the app with the models and the pages."""
