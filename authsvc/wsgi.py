"""The same service over WSGI: slower, with the same decisions."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "authsvc.settings")

application = get_wsgi_application()

from authsvc.checks import stop_if_wrong

stop_if_wrong()
