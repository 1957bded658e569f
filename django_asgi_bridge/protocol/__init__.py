"""The rules of ASGI and HTTP that need no I/O: no Django, no asyncio, no threads."""
