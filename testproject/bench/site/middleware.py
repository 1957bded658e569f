"""A middleware that costs next to nothing, to see what another one costs."""

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

__all__ = ("Trivial",)


class Trivial(MiddlewareMixin):
    """Marks the request and the response, as most middlewares of other parties do."""

    def process_request(self, request: HttpRequest) -> None:
        """Leave a mark on the request."""
        request.META["bench.seen"] = request.META.get("bench.seen", 0) + 1

    def process_response(
        self, request: HttpRequest, response: HttpResponse
    ) -> HttpResponse:
        """Leave a mark on the response."""
        response.headers["X-Seen"] = "1"
        return response
