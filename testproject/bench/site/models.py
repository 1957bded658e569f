"""The tables of the cases with a database: numbers, and lines of a page."""

from typing import ClassVar

from django.db import models

__all__ = ("Line", "Number")


class Number(models.Model):
    """One of 10,000 rows, of which a case reads some."""

    objects: ClassVar[models.Manager["Number"]] = models.Manager()

    value = models.IntegerField()

    class Meta:
        app_label = "site"

    def __str__(self) -> str:
        return str(self.value)


class Line(models.Model):
    """One of the twelve rows that a page shows."""

    objects: ClassVar[models.Manager["Line"]] = models.Manager()

    text = models.CharField(max_length=200)

    class Meta:
        app_label = "site"

    def __str__(self) -> str:
        return self.text
