ASGI_BRIDGE = {
    "LIFESPAN": ["pages.lifespan.open_counter"],
}
