"""The pages that open WebSockets."""

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import slugify

from testproject.talk.models import Room


class RoomForm(forms.Form):
    name = forms.CharField(max_length=60, label="Name of a room")

    def clean_name(self) -> str:
        """Refuse a name of which no address can be made."""
        name: str = self.cleaned_data["name"]
        if not slugify(name):
            raise forms.ValidationError("Use at least one letter or digit.")
        return name


def rooms(request: HttpRequest) -> HttpResponse:
    """List the rooms, and open a new one."""
    form = RoomForm(request.POST or None)
    if form.is_valid():
        name = form.cleaned_data["name"]
        opened, _ = Room.objects.get_or_create(
            slug=slugify(name), defaults={"name": name}
        )
        return redirect(opened)
    return _page(request, "rooms", {"rooms": Room.objects.all(), "form": form})


def room(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a room."""
    return _page(request, "room", {"room": get_object_or_404(Room, slug=slug)})


def board(request: HttpRequest) -> HttpResponse:
    """Show notes as they are written."""
    return _page(request, "board", {})


def search(request: HttpRequest) -> HttpResponse:
    """Search while typing."""
    return _page(request, "search", {})


def door(request: HttpRequest) -> HttpResponse:
    """Try a socket that refuses."""
    return _page(request, "door", {})


def _page(request: HttpRequest, name: str, context: dict[str, object]) -> HttpResponse:
    is_asgi = hasattr(request, "scope")
    return render(request, f"talk/{name}.html", {**context, "is_asgi": is_asgi})
