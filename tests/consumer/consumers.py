"""Consumers that several tests talk to."""

from django_asgi_bridge.generic.websocket import AsyncWebsocketConsumer


class Echo(AsyncWebsocketConsumer):
    """Says what it hears, and notes what happens to it."""

    groups = ["room"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.codes = []
        Echo.last = self

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)

    async def chat_message(self, event):
        await self.send(text_data=event["text"])

    async def disconnect(self, code):
        self.codes.append(code)
