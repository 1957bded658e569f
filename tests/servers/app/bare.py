"""An echo with nothing of ours: what a server does by itself."""

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, WebSocketScope


async def echo(
    scope: WebSocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    """Accept, and send back each frame as it came."""
    await receive()
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    while True:
        event = await receive()
        if event["type"] != "websocket.receive":
            return
        text, octets = event.get("text"), event.get("bytes")
        if text is not None:
            octets = None
        await send({"type": "websocket.send", "text": text, "bytes": octets})
