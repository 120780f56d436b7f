"""The view, its URL and the WSGI application."""

from __future__ import annotations

from typing import Any

from django.core.wsgi import get_wsgi_application
from django.urls import path
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

application = get_wsgi_application()


class MayUseTheModel(BasePermission):
    """Whether a group of the person has the permission named after the model."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user.has_perm(f"auth.use_{request.query_params.get('model', '')}"))


class SecondThrottle(UserRateThrottle):
    scope = "second"


class MinuteThrottle(UserRateThrottle):
    scope = "minute"


class DayThrottle(UserRateThrottle):
    scope = "day"


class AuthView(APIView):
    permission_classes = [MayUseTheModel]
    throttle_classes = [SecondThrottle, MinuteThrottle, DayThrottle]

    def get(self, request: Request) -> Response:
        return Response(headers={"X-Auth-User": str(request.user.pk)})


urlpatterns: list[Any] = [path("auth/", AuthView.as_view())]
