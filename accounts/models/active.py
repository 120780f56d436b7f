"""Rows that work until they expire or are revoked: keys and credentials."""

from __future__ import annotations

from typing import Self, TypeVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

Row = TypeVar("Row", bound=models.Model)


class ExpiringQuerySet(models.QuerySet[Row]):
    """Rows with `expires_at` and `revoked_at`. Each is active, expired or revoked."""

    def active(self) -> Self:
        return self.filter(is_living())

    def inactive(self) -> Self:
        return self.exclude(is_living())

    def expired(self) -> Self:
        return self.filter(revoked_at=None, expires_at__lte=timezone.now())

    def revoked(self) -> Self:
        return self.filter(revoked_at__isnull=False)


def is_living() -> Q:
    """Neither revoked nor expired."""
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
