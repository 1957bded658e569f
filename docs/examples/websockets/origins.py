"""Settings: pages of another site that may open WebSockets here."""

ASGI_BRIDGE = {
    "WEBSOCKET_ORIGINS": ["https://app.example.com", "http://localhost:5173"],
}
