"""Users, and how they are found by name."""

from __future__ import annotations

from typing import Any, ClassVar
from unicodedata import normalize

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy

from runtime.labels import one_line

NAME_IS_TAKEN = gettext_lazy("A user with that username already exists.")


def caseless(username: str) -> str:
    """The form in which user names are compared, so that people cannot mistake one for another."""
    return normalize("NFKC", normalize("NFKC", username).casefold())


class People(UserManager["User"]):
    """Users, found by user name regardless of case."""

    use_in_migrations = False

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(folded_username=caseless(username or ""))


class User(AbstractUser):
    """A person who can sign in."""

    username = models.CharField(
        gettext_lazy("username"),
        max_length=150,
        unique=True,
        validators=[UnicodeUsernameValidator(), one_line],
        help_text=gettext_lazy("Up to 150 letters, digits and @ . + - _. Not case-sensitive."),
        error_messages={"unique": NAME_IS_TAKEN},
    )
    folded_username = models.CharField(max_length=600, unique=True, editable=False)
    first_name = models.CharField(gettext_lazy("first name"), max_length=150, blank=True, validators=[one_line])
    last_name = models.CharField(gettext_lazy("last name"), max_length=150, blank=True, validators=[one_line])
    email = models.EmailField(gettext_lazy("email address"), blank=True, validators=[one_line])
    language = models.CharField(
        gettext_lazy("language"),
        max_length=16,
        blank=True,
        default="",
        db_default="",
        help_text=gettext_lazy("Of the pages and mails this person reads. Automatic: as their browser asks."),
    )
    last_language = models.CharField(
        max_length=16,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Of the pages at the last sign-in: the language of mails to somebody who chose none.",
    )

    objects: ClassVar[People] = People()

    def clean(self) -> None:
        super().clean()
        folded = caseless(self.username or "")  # None after a form has refused what was typed
        if User.objects.filter(folded_username=folded).exclude(pk=self.pk).exists():
            raise ValidationError({"username": NAME_IS_TAKEN})

    def save(self, *args: Any, **kwargs: Any) -> None:
        one_line(self.username)  # createsuperuser has no form that would check it
        self.folded_username = caseless(self.username)
        fields = kwargs.get("update_fields")
        if fields is not None and "username" in fields:
            kwargs["update_fields"] = {*fields, "folded_username"}
        super().save(*args, **kwargs)
