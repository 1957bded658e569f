"""A URLconf without addresses: what a request that leaks would leave behind."""

urlpatterns: list[object] = []
