"""What stands between server and site: it mounts the site, and takes notes."""

import json
from collections import defaultdict

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

from tests.servers.app import bare

MOUNT = "/mounted"
BARE = "/bare/"


class Probe:
    """Serve the site at `/` and at `/mounted`, and tell which events it sent.

    A request with the header `x-observe: NAME` is noted under that name;
    `/observed/NAME` answers with the types of the events that the site sent.
    At `/bare/` is an echo that the site has no part in.
    """

    def __init__(self, site: ASGI3Application) -> None:
        self.site = site
        self.notes: defaultdict[str, list[str]] = defaultdict(list)

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "websocket" and scope["path"] == BARE:
            await bare.echo(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.site(scope, receive, send)
            return
        path = scope["path"]
        if path.startswith("/observed/"):
            await self.tell(path.removeprefix("/observed/"), send)
            return
        if path == MOUNT or path.startswith(f"{MOUNT}/"):
            root_path = scope.get("root_path", "") + MOUNT
            scope = {**scope, "root_path": root_path}
        name = dict(scope["headers"]).get(b"x-observe", b"").decode("latin-1")
        await self.site(scope, receive, self.noting(name, send) if name else send)

    def noting(self, name: str, send: ASGISendCallable) -> ASGISendCallable:
        """Return a `send` that notes the type of each event."""

        async def noting_send(event: ASGISendEvent) -> None:
            self.notes[name].append(event["type"])
            await send(event)

        return noting_send

    async def tell(self, name: str, send: ASGISendCallable) -> None:
        """Answer with the notes taken under a name."""
        body = json.dumps(self.notes[name]).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())],
                "trailers": False,
            }
        )
        await send({"type": "http.response.body", "body": body, "more_body": False})
