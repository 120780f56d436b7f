"""All configuration. Only this file reads the environment, in the order in which an operator meets the variables."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import dj_database_url

from authsvc import __version__
from console import branding, languages
from runtime import env, faults, hosts, mail
from runtime.env import BadSetting, host_of

faults.say_plainly()  # so that Django's own manage.py prints one sentence, not a traceback

VERSION = __version__
BASE_DIR = Path(__file__).resolve().parent.parent

# The only switch: with DEBUG, missing secrets are made in .dev/ and everything below has a default.
DEBUG = env.flag("DEBUG", default=False)
_MADE_IN = BASE_DIR / ".dev" if DEBUG else None

# Required.
SECRET_KEY = env.secret("SECRET_KEY", made_in=_MADE_IN)
KEY_PEPPER = env.secret("KEY_PEPPER", made_in=_MADE_IN)  # to rotate it, move the old value to KEY_PEPPER_OLD
KEY_PEPPER_OLD = env.old_secret("KEY_PEPPER_OLD")
DATABASE_URL = env.text("DATABASE_URL", f"sqlite:///{BASE_DIR / '.dev' / 'db.sqlite3'}" if DEBUG else None)
REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0" if DEBUG else None)
ALLOWED_HOSTS = hosts.host_names("ALLOWED_HOSTS", "*" if DEBUG else "localhost,127.0.0.1,[::1]")

# Our public addresses.
GATEWAY_URL = hosts.web_address("GATEWAY_URL", "http://127.0.0.1:8080", rest="path")
CONSOLE_URL = hosts.web_address("CONSOLE_URL", "http://127.0.0.1:8081")  # an origin, which browsers compare

# How mail is sent: invitations, confirmations, resets.
_EMAIL_URL = env.text("EMAIL_URL", "console://" if DEBUG else "")
_MAIL = mail.server_at(_EMAIL_URL)
MAILBOX = env.flag("AUTHSVC_MAILBOX", default=False) and not _EMAIL_URL  # a page in place of a mail server
EMAIL_BACKEND = "runtime.mailbox.Mailbox" if MAILBOX else _MAIL.backend
EMAIL_HOST, EMAIL_PORT = _MAIL.host, _MAIL.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _MAIL.user, _MAIL.password
EMAIL_USE_TLS, EMAIL_USE_SSL = _MAIL.starts_tls, _MAIL.is_tls
EMAIL_TIMEOUT = mail.SECONDS
DEFAULT_FROM_EMAIL = mail.sender(env.text("EMAIL_FROM", "authsvc@localhost"))

# Optional.
SERVES = env.words("AUTHSVC_SERVES", "gate,console")  # one image, two kinds of process
REALM = env.text("AUTHSVC_REALM", "models")
KEY_PREFIX = env.text("AUTHSVC_KEY_PREFIX", "ask")
OVER_LIMIT_STATUS = int(env.choice("AUTHSVC_OVER_LIMIT_STATUS", "429", "403"))  # docs/decisions/0001
ERRORS_URL = hosts.web_address("AUTHSVC_ERRORS_URL", f"{CONSOLE_URL}/errors/", rest="anything")
ERRORS_URL += "" if "?" in ERRORS_URL or "#" in ERRORS_URL else "/"  # a code is appended
WHEN_REDIS_IS_DOWN = env.choice("AUTHSVC_WHEN_REDIS_IS_DOWN", "deny", "allow")
REDIS_PREFIX = env.text("AUTHSVC_REDIS_PREFIX", "")  # of every Redis key; docs/decisions/0022
REDIS_CONNECT_SECONDS = env.number("AUTHSVC_REDIS_CONNECT_SECONDS", 2, least=0.1, most=30)
LEASE_SECONDS = env.number("AUTHSVC_LEASE", 10, least=1, most=3600)
LOG_DECISIONS = env.choice("AUTHSVC_LOG_DECISIONS", "refused", "all")
LOG_SAMPLE = env.number("AUTHSVC_LOG_SAMPLE", 1, most=1)  # the share of allowed calls that `all` logs
OTEL_URL = hosts.optional_address("AUTHSVC_OTEL_URL", "")  # of an OTLP/HTTP collector, for traces
WEBSOCKET_KEYS = env.flag("AUTHSVC_WEBSOCKET_KEYS", default=False)  # keys in Sec-WebSocket-Protocol
IMPORTED_KEYS = env.flag("AUTHSVC_IMPORTED_KEYS", default=False)
CACHE_BYTES = env.count("AUTHSVC_CACHE_MB", 64, least=1, most=1_000_000) * 1024 * 1024  # per process, for facts
TRUSTED_PROXIES = env.networks("AUTHSVC_TRUSTED_PROXIES", "")  # the console trusts their X-Forwarded-For and -Proto
BRAND_NAME = branding.name(env.text("AUTHSVC_BRAND_NAME", "authsvc"))
BRAND_COLOUR = branding.colour(env.text("AUTHSVC_BRAND_COLOUR", "#3451d1"))
BRAND_LOGO = branding.logo(env.text("AUTHSVC_BRAND_LOGO", ""), BASE_DIR)
SUPPORT = branding.support(env.text("AUTHSVC_SUPPORT", ""))
LANGUAGES = languages.offered(env.words("AUTHSVC_LANGUAGES", "en,fr"))  # of pages and mails; the first is the default
SIGN_UP = env.choice("AUTHSVC_SIGN_UP", "invitation", "open", "off")  # who may make a user of their own
STAFF_SECOND_FACTOR = env.flag("AUTHSVC_STAFF_SECOND_FACTOR", default=False)  # before the admin opens
SESSION_IDLE_SECONDS = env.count("AUTHSVC_SESSION_IDLE", 0, least=0, most=525_600) * 60  # minutes; 0: no limit
OIDC_ISSUER = hosts.optional_address("AUTHSVC_OIDC_ISSUER", "")
OIDC_CLIENT_ID = env.text("AUTHSVC_OIDC_CLIENT_ID", "")
OIDC_CLIENT_SECRET = env.text("AUTHSVC_OIDC_CLIENT_SECRET", "")
OIDC_NAME = env.text("AUTHSVC_OIDC_NAME", "single sign-on")  # on the button
OIDC_DOMAINS = hosts.host_names("AUTHSVC_OIDC_DOMAINS", "")  # of e-mail addresses; none: any
OIDC_ROLE = env.choice("AUTHSVC_OIDC_ROLE", "owner", "admin", "member", "viewer", "none")  # on first sign-in
OIDC_ACCOUNT = env.text("AUTHSVC_OIDC_ACCOUNT", "")  # whose admins, members or viewers they become
NOTIFICATIONS = env.flag("AUTHSVC_NOTIFICATIONS", default=True)  # mails about keys, quotas and sign-ins
AUDIT_KEEP_DAYS = env.count("AUTHSVC_AUDIT_KEEP", 0, least=0, most=36_500)  # 0: forever
CATALOGUE = BASE_DIR / env.text("AUTHSVC_CATALOGUE", "deploy/catalogue.toml")  # applied by set_up
MANAGE = env.text("AUTHSVC_MANAGE", "manage.py")  # how to call manage.py here, for hints that people copy
DRAIN_SECONDS = env.number("AUTHSVC_DRAIN", 5, most=300)  # checked here; used by deploy/gunicorn.conf.py

if not set(SERVES) <= {"gate", "console"} or not SERVES:
    raise BadSetting(f"AUTHSVC_SERVES={','.join(SERVES)!r} is not gate, console or gate,console.")

if OTEL_URL and find_spec("opentelemetry") is None:
    raise BadSetting("AUTHSVC_OTEL_URL is set: install OpenTelemetry from requirements/otel.txt, too.")

if {"*"} & set(OIDC_DOMAINS) or any(domain.startswith(".") for domain in OIDC_DOMAINS):
    raise BadSetting("AUTHSVC_OIDC_DOMAINS names no domain as in an address: write example.org, or leave it out.")
if OIDC_ISSUER and not (OIDC_CLIENT_ID and OIDC_CLIENT_SECRET):
    raise BadSetting("AUTHSVC_OIDC_ISSUER is set: set AUTHSVC_OIDC_CLIENT_ID and AUTHSVC_OIDC_CLIENT_SECRET, too.")
if OIDC_ROLE in ("admin", "member", "viewer") and not OIDC_ACCOUNT:
    raise BadSetting(f"AUTHSVC_OIDC_ROLE={OIDC_ROLE} needs AUTHSVC_OIDC_ACCOUNT, the external id of an account.")

if not {"*", host_of(CONSOLE_URL)} & set(ALLOWED_HOSTS):
    ALLOWED_HOSTS.append(host_of(CONSOLE_URL))  # the links we print must work

# From here on: Django's own settings, which operators do not set.
ROOT_URLCONF = "authsvc.urls"
WSGI_APPLICATION = "authsvc.wsgi.application"
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = False  # never answer Traefik with a redirect

INSTALLED_APPS = [
    "authsvc",
    "console",
    "api",
    "traefik",
    "accounts",
    "quotas",
    "console.operators.apps.OperatorsAdminConfig",  # django.contrib.admin, with a site of ours
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",  # pages of allauth use it
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",  # Swagger UI's static files
    "csp",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.mfa",
    "allauth.usersessions",
]

MIDDLEWARE = [
    "authsvc.gate.view.GateFirst",  # first: no other middleware may answer Traefik
    "authsvc.identified.Identified",  # before anything that may log or fail
    "authsvc.bodies.BoundedOverWsgi",  # before anything that reads a body
    "authsvc.refusals.NoNuls",
    "console.proxies.BehindProxies",  # before anything that needs the client's address or scheme
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "console.languages.ReadersLanguage",  # before anything that says something to people
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "console.signing.middleware.Door",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.frame.brand",
                "console.signing.context.signing",
            ],
        },
    },
]

try:
    DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_max_age=60, conn_health_checks=True)}
except (ValueError, KeyError) as error:
    raise BadSetting("DATABASE_URL cannot be parsed: write sqlite:////PATH or postgres://…") from error

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # WAL lets readers continue beside a writer; IMMEDIATE makes writers wait for each other instead of failing.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    try:
        Path(str(DATABASES["default"]["NAME"])).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"DATABASE_URL: the database's folder cannot be created: {error}.") from error
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
    # A pooler such as PgBouncer may give each transaction a different session, and we cannot know whether there is one.
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True  # docs/decisions/0023
else:
    raise BadSetting("DATABASE_URL names an unsupported database: write sqlite:////PATH or postgres://…")

# How people sign in. Every password passes the one backend, which counts it first: docs/decisions/0033.
AUTHENTICATION_BACKENDS = ["console.signing.backend.Passwords"]
PASSWORD_HASHERS = [
    "console.signing.hashing.InTurn",
    *(f"django.contrib.auth.hashers.{name}" for name in ("PBKDF2SHA1PasswordHasher", "ScryptPasswordHasher")),
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": 12}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
ACCOUNT_ADAPTER = "console.signing.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "console.signing.forms.SignInForm",
    "signup": "console.signing.forms.SignUpForm",
    "change_password": "console.signing.forms.ChangePasswordForm",
    "reset_password": "console.signing.forms.ResetPasswordForm",
}
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False  # they count in one process's memory; ours count in Redis
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_LOGIN_METHODS = {"username", "email"}  # console.signing.backend knows a user by either
ACCOUNT_EMAIL_VERIFICATION = "mandatory"  # console.signing.stages says for whom
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True  # in the browser that signed up, and in no other
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
MFA_ADAPTER = "console.signing.adapters.SecondFactorAdapter"
MFA_FORMS = {
    "add_webauthn": "console.signing.forms.AddPasskeyForm",
    "authenticate": "console.signing.forms.SecondFactorForm",
    "reauthenticate": "console.signing.forms.SecondFactorAgainForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = host_of(CONSOLE_URL)
MFA_TOTP_TOLERANCE = 1  # a phone's clock is half a minute off now and then
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # operators may have no address at all
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = CONSOLE_URL.startswith("http://")  # browsers allow it on localhost alone
SOCIALACCOUNT_ADAPTER = "console.signing.oidc.ProviderAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"  # console.signing.oidc takes confirmed addresses alone
SOCIALACCOUNT_EMAIL_AUTHENTICATION = SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True  # the provider is trusted
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, list[dict[str, object]]]] = {"openid_connect": {"APPS": []}}
if OIDC_ISSUER:
    SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"] = [
        {
            "provider_id": "sso",
            "name": OIDC_NAME,
            "client_id": OIDC_CLIENT_ID,
            "secret": OIDC_CLIENT_SECRET,
            "settings": {"server_url": OIDC_ISSUER},
        }
    ]

LANGUAGE_CODE = languages.WRITTEN_IN  # of the REST API, commands and logs
USE_TZ = True
TIME_ZONE = "UTC"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "console"
LOGOUT_REDIRECT_URL = "login"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"  # made by collectstatic when the image is built
WHITENOISE_USE_FINDERS = True
warnings.filterwarnings("ignore", "No directory at")  # without collectstatic the finders serve files

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CONSOLE_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [CONSOLE_URL]
CSRF_FAILURE_VIEW = "console.signing.middleware.without_token"
SECURE_PROXY_SSL_HEADER = ("AUTHSVC_SCHEME", "https")  # only BehindProxies can set this: no header has such a name
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

# Pages may load only files from this server: no inline script or style, and no other host.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # icons inside style sheets
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# authsvc.bodies limits bodies before Django sees them. Uploaded keys stay in memory, never on disk.
FILE_UPLOAD_HANDLERS = ["runtime.memory_files.InMemory"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.CursorPagination",
    "PAGE_SIZE": 100,
    "DEFAULT_SCHEMA_CLASS": "api.openapi.auto_schema.OperationSchema",
}

SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "COMPONENT_SPLIT_REQUEST": True,  # requests and responses have different schemas
    "POSTPROCESSING_HOOKS": ["api.openapi.document.complete"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENABLE_DJANGO_DEPLOY_CHECK": False,  # a test checks the schema
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(request_id)s%(message)s"}},
    "filters": {
        "without_links": {"()": "runtime.logs.WithoutLinks"},
        "with_request_id": {"()": "runtime.request_ids.WithRequestId"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "plain",
            "filters": ["without_links", "with_request_id"],
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"django.request": {"level": "ERROR"}},
}
