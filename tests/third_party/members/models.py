"""Who buys books: numbered, and in a table with a name of its own."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class Member(AbstractUser):
    card = models.CharField(max_length=20, blank=True)

    class Meta:
        db_table = "bookshop_people"
