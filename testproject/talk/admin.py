"""Rooms in Django's admin."""

from django.contrib import admin

from testproject.talk.models import Room

admin.site.register(Room)
