"""Pages and WebSocket routes of the app."""

from django.urls import path

from testproject.talk import consumers, views

urlpatterns = [
    path("rooms/", views.rooms, name="rooms"),
    path("rooms/<slug:slug>/", views.room, name="room"),
    path("board/", views.board, name="board"),
    path("search/", views.search, name="search"),
    path("door/", views.door, name="door"),
]

websocket_urlpatterns = [
    path("rooms/<slug:slug>/", consumers.RoomConsumer.as_asgi(), name="room-socket"),
    path("board/", consumers.BoardConsumer.as_asgi(), name="board-socket"),
    path("search/", consumers.SearchConsumer.as_asgi(), name="search-socket"),
    path("door/", consumers.DoorConsumer.as_asgi(), name="door-socket"),
]
