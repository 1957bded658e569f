"""Sentry: the end of a project's settings."""

import sentry_sdk
from sentry_sdk.integrations.django import DjangoIntegration

sentry_sdk.init(
    dsn=None,  # yours
    integrations=[DjangoIntegration(middleware_spans=True)],
    traces_sample_rate=0.1,
)
