"""Serves requests under sentry-sdk and prints what it recorded, as JSON.

Usage: ``python -m tests.apm.sentry_child '{"door": "bridge", "urls": [...]}'``.
"""

import asyncio
import importlib
import json
import sys
from typing import Any

import sentry_sdk
from django.core import signals
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport

from tests.apm import site


class Collector(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.items.extend(
            item.payload.json for item in envelope.items if item.payload.json
        )


def receive_started(**kwargs: Any) -> None:
    """A project's own receiver."""


def start_sdk(order: dict[str, Any]) -> Collector:
    transport = Collector()
    sentry_sdk.init(
        dsn="https://public@sentry.invalid/1",
        transport=transport,
        traces_sample_rate=1.0,
        send_default_pii=True,
        default_integrations=False,
        auto_session_tracking=False,
        integrations=[
            DjangoIntegration(
                middleware_spans=order.get("middleware_spans", True),
                signals_spans=True,
                transaction_style=order.get("style", "url"),
            )
        ],
    )
    return transport


def events_of(items: list[Any]) -> list[Any]:
    found = []
    for item in items:
        kind = item.get("type", "event")
        trace = item["contexts"].get("trace", {})
        entry = {
            "kind": kind,
            "transaction": item.get("transaction"),
            "status": trace.get("data", {}).get("http.response.status_code"),
            "op": trace.get("op"),
            "url": item.get("request", {}).get("url"),
            "query": item.get("request", {}).get("query_string"),
            "user": (item.get("user") or {}).get("username"),
        }
        if kind == "transaction":
            entry["spans"] = sorted(
                [span["op"], span["description"]] for span in item["spans"]
            )
            entry["unfinished"] = [
                span["description"]
                for span in item["spans"]
                if span.get("timestamp") is None
            ]
        else:
            values = item["exception"]["values"]
            entry["exception"] = [value["type"] for value in values]
            entry["mechanism"] = values[-1]["mechanism"]["type"]
        found.append(entry)
    return found


def main(order: dict[str, Any]) -> list[Any]:
    site.configure()
    if order.get("sdk") == "after":
        # Everything of ours is imported, nothing is built yet.
        importlib.import_module("django_asgi_bridge.asgi")
    transport = start_sdk(order)
    application = site.load(order["door"])
    if order.get("sdk") == "last":
        application = site.load(order["door"])
    if order.get("has_receiver"):
        signals.request_started.connect(receive_started)
        signals.request_finished.connect(receive_started)
    answers = []
    for url in order["urls"]:
        transport.items.clear()
        with site.counted_trips() as trips:
            status = asyncio.run(site.get(application, url))
        sentry_sdk.flush()
        answers.append(
            {
                "status": status,
                "trips": len(trips),
                "events": events_of(transport.items),
            }
        )
    return answers


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
