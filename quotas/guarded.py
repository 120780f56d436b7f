"""Query sets for rows that are the gate's facts: no bulk change may bypass the services that publish it."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model)


class BulkChangeRefused(RuntimeError):
    """A bulk update or delete would reach the database but never the gate."""


class GuardedQuerySet(models.QuerySet[Row]):
    """Reads as usual. Bulk writes raise: they would change rows behind the gate's back."""

    def _refuse(self, act: str) -> NoReturn:
        raise BulkChangeRefused(f"{self.model.__name__}.objects.{act}(): use a service, which also tells the gate.")

    def update(self, **kwargs: Any) -> NoReturn:
        self._refuse("update")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("bulk_update")

    def bulk_create(self, *args: Any, update_conflicts: bool = False, **kwargs: Any) -> list[Row]:
        if update_conflicts:
            self._refuse("bulk_create")
        return super().bulk_create(*args, **kwargs)

    def delete(self) -> NoReturn:
        self._refuse("delete")


GuardedManager = models.Manager.from_queryset(GuardedQuerySet)
