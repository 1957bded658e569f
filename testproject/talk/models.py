"""Rooms and what was said in them."""

from django.db import models
from django.urls import reverse
from django.utils import timezone


class Room(models.Model):
    name = models.CharField(max_length=60)
    slug = models.SlugField(max_length=60, unique=True)

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("room", args=[self.slug])


class Line(models.Model):
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="lines")
    author = models.CharField(max_length=150)
    text = models.CharField(max_length=500)
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.author}: {self.text}"
