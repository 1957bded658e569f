"""Names that the tests and the site's faulty views share."""

ERROR_PAGE = "the site's own error page"

VECTORS = (
    "value-crlf",
    "value-lf",
    "value-cr",
    "value-split",
    "value-nul",
    "value-control",
    "value-delete",
    "value-next-line",
    "value-leading-space",
    "value-not-latin-1",
    "value-bytes",
    "value-integer",
    "content-type-crlf",
    "name-crlf",
    "name-empty",
    "name-colon",
    "name-space",
    "name-not-ascii",
    "cookie-value-crlf",
    "cookie-value-nul",
    "cookie-value-not-ascii",
    "cookie-path-crlf",
    "cookie-name-crlf",
)
