"""The product's settings, and one app more."""

from authsvc.settings import *  # noqa: F403
from authsvc.settings import INSTALLED_APPS as _PRODUCT

INSTALLED_APPS = [*_PRODUCT, "tests.patient.apps.PatientConfig"]
