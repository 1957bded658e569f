"""The site as an ASGI application: `uvicorn testproject.asgi:application`."""

import os

from django_asgi_bridge.asgi import get_asgi_application
from testproject.guest import app as guest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

application = get_asgi_application(mounts={"/api": guest})
