"""Who signs in."""

from __future__ import annotations

from typing import Any, ClassVar, Self
from unicodedata import normalize

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from runtime.labels import one_line

NAME_IS_TAKEN = "A user with that username already exists."


def caseless(username: str) -> str:
    """What two user names have in common that people take for one."""
    return normalize("NFKC", normalize("NFKC", username).casefold())


class People(UserManager["User"]):
    """Users, found by their names whatever the case that they are typed in."""

    use_in_migrations = False

    def get_by_natural_key(self, username: str | None) -> User:
        """The user of this name; raises DoesNotExist. Where two of old differ in case alone, each by its own."""
        folded = caseless(username or "")
        rows = self.filter(Q(username=username) | Q(folded_username=folded)).order_by("pk")
        found = {row.username: row for row in rows if caseless(row.username) == folded}
        row = found.get(username or "") or next(iter(found.values()), None)
        if row is None:
            raise self.model.DoesNotExist
        return row


class User(AbstractUser):
    """A person who signs in."""

    username = models.CharField(
        max_length=150, unique=True, validators=[UnicodeUsernameValidator(), one_line],
        help_text="Up to 150 letters, digits and @ . + - _; upper and lower case are the same.",
        error_messages={"unique": NAME_IS_TAKEN},
    )  # fmt: skip
    folded_username = models.CharField(  # noqa: DJ001  null: made by the version before, or taken by another one then
        max_length=600, unique=True, null=True, editable=False
    )

    first_name = models.CharField("first name", max_length=150, blank=True, validators=[one_line])
    last_name = models.CharField("last name", max_length=150, blank=True, validators=[one_line])
    email = models.EmailField("email address", blank=True, validators=[one_line])

    objects: ClassVar[People] = People()

    _username_before: str | None = None

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        row = super().from_db(*args, **kwargs)
        row._username_before = row.__dict__.get("username")
        return row

    def clean(self) -> None:
        super().clean()
        if self._is_renamed() and self._others().exists():
            raise ValidationError({"username": NAME_IS_TAKEN})

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._is_renamed():
            one_line(self.username)  # createsuperuser has no form
            self.folded_username = caseless(self.username)
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "folded_username"}
        super().save(*args, **kwargs)
        self._username_before = self.username

    def _is_renamed(self) -> bool:
        return "username" in self.__dict__ and self.username != self._username_before

    def _others(self) -> models.QuerySet[User]:
        return User.objects.filter(folded_username=caseless(self.username)).exclude(pk=self.pk)
