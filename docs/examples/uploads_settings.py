"""Limits of request bodies, for a project's settings."""

# Django's: fields of forms, and bodies that a view has as a whole (bytes).
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
# Django's: from here on an uploaded file, or a buffered body, is on disk (bytes).
FILE_UPLOAD_MAX_MEMORY_SIZE = 2_621_440

ASGI_BRIDGE = {
    "MAX_BODY_SIZE": 1_000_000_000,  # bytes of any body
    "BODY_TIMEOUT": 30.0,  # seconds without a byte
}
