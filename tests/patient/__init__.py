"""The product with generous deadlines, for processes that tests start: PATIENT in their environment."""

PATIENT = {"DJANGO_SETTINGS_MODULE": "tests.patient.settings"}
