"""The site's entry, as `startproject` writes it, behind a probe."""

import asyncio
import os
import resource

from asgiref.sync import sync_to_async

from django_asgi_bridge.asgi import get_asgi_application
from tests.servers.app.probe import Probe

MEMORY = 3 * 1024**3

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.servers.app.settings")

# A stream without end must not take the machine with it.
resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))

site = get_asgi_application()
application = Probe(site)

if os.environ.get("SITE_PRELOAD"):
    # With `--preload` this runs in the parent, before it forks: threads, locks and
    # pools that were used here must not be what the children use.
    asyncio.run(sync_to_async(os.getpid)())
