"""Serves requests under OpenTelemetry and prints what it recorded, as JSON.

Usage: ``python -m tests.apm.otel_child '{"door": "bridge", "urls": [...]}'``.
"""

import asyncio
import importlib
import json
import logging
import sys
import threading
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.apm import site


class Records(logging.Handler):
    """Keeps what OpenTelemetry complains about."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def spans_of(exporter: InMemorySpanExporter) -> list[Any]:
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans}
    return sorted(
        [
            {
                "name": span.name,
                "kind": span.kind.name,
                "parent": names.get(span.parent.span_id) if span.parent else None,
                "status": span.attributes.get("http.status_code"),
                "route": span.attributes.get("http.route"),
                "is_ended": span.end_time is not None,
                "has_failed": span.status.status_code.name,
                "exceptions": [
                    event.attributes["exception.type"] for event in span.events
                ],
            }
            for span in spans
        ],
        key=lambda span: (span["kind"], span["name"]),
    )


def main(order: dict[str, Any]) -> list[Any]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    complaints = Records()
    logging.getLogger("opentelemetry").addHandler(complaints)
    site.configure()
    if order.get("sdk") == "after":
        # Everything of ours is imported, nothing is built yet.
        importlib.import_module("django_asgi_bridge.asgi")
    DjangoInstrumentor().instrument()
    application = site.load(order["door"])
    if order.get("is_wrapped"):
        application = OpenTelemetryMiddleware(application)
    answers = []
    for url in order["urls"]:
        exporter.clear()
        complaints.messages.clear()
        with site.counted_trips() as trips:
            status = asyncio.run(site.get(application, url))
        answers.append(
            {
                "status": status,
                "trips": len(trips),
                "spans": spans_of(exporter),
                "complaints": list(complaints.messages),
                "is_span_left": trace.get_current_span().get_span_context().is_valid,
                "leased": _leased(order["door"]),
                "threads": threading.active_count(),
            }
        )
    return answers


def _leased(door: str) -> int:
    """Count the workers that a request still holds."""
    if door != "bridge":
        return 0
    return (
        importlib.import_module("django_asgi_bridge.threads").get_pool().stats().leased
    )


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
