"""All settings. What an operator may set is read from the environment, in one place, here."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from chatproject import environment as env
from chatproject import logs

CHAT_DATA_DIR = env.data_dir()
CHAT_ENV = env.text("CHAT_ENV", "production")
if CHAT_ENV not in {"local", "production"}:
    raise ImproperlyConfigured(f"CHAT_ENV must be local or production; it is {CHAT_ENV!r}")
LOCAL = CHAT_ENV == "local"
DEBUG = False
CHAT_DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
SECRET_KEY = env.secret_key(CHAT_DATA_DIR, local=LOCAL)

HOST = env.text("HOST", "127.0.0.1")
PORT = env.count("PORT", 8000, most=65_535)
ALLOWED_HOSTS = env.listed("ALLOWED_HOSTS") or (["*"] if LOCAL else [])
CHAT_ORIGINS = env.listed("CHAT_ORIGINS")
CHAT_BEHIND_PROXY = env.text("CHAT_BEHIND_PROXY") == "1"  # then its X-Forwarded-… headers are believed
CSRF_TRUSTED_ORIGINS = [origin for origin in CHAT_ORIGINS if "://" in origin]

REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")

# --- the chat's own settings; 0 = no limit, where 0 is let in ---------------------------------------------------------
CHAT_REDIS_SHARDS = env.listed("CHAT_REDIS_SHARDS") or [REDIS_URL]  # the live groups are spread over them
CHAT_LLM = env.text("CHAT_LLM", "demo")
CHAT_LLMS = env.listed("CHAT_LLMS")  # others that a message may choose
CHAT_FALLBACKS = env.listed("CHAT_FALLBACKS")  # asked in this order when an agent's LLM fails
CHAT_EMERGENCY_TEXT = env.text("CHAT_EMERGENCY_TEXT")  # the answer when all of them fail; none: the run fails
CHAT_TITLE_LLM = env.text("CHAT_TITLE_LLM")  # finds the names of sessions; none given: the agent's own; "none": nobody
CHAT_PRICES = env.text("CHAT_PRICES")  # a table of prices
CHAT_MESSAGES_PER_10S = env.count("CHAT_MESSAGES_PER_10S", 10)
CHAT_SIGN_INS_PER_MINUTE = env.count("CHAT_SIGN_INS_PER_MINUTE", 10)  # that fail, a name
CHAT_SOCKETS_PER_USER = env.count("CHAT_SOCKETS_PER_USER", 10)
CHAT_RUNS_PER_USER = env.count("CHAT_RUNS_PER_USER", 4)
CHAT_WAITING_PER_SESSION = env.count("CHAT_WAITING_PER_SESSION", 50)
CHAT_RUNS_PER_WORKER = env.count("CHAT_RUNS_PER_WORKER", 400)
CHAT_SLOW_S = env.number("CHAT_SLOW_S", 30, least=1)
CHAT_LEASE_S = env.number("CHAT_LEASE_S", 5, least=2, most=3600)  # it is renewed every second
CHAT_SWEEP_S = env.number("CHAT_SWEEP_S", 1, least=0.1, most=3600)
CHAT_CRASHES_MAX = env.count("CHAT_CRASHES_MAX", 3)
CHAT_CONTEXT_TOKENS = env.count("CHAT_CONTEXT_TOKENS", 8000, least=500)  # as of an agent's own
CHAT_SESSION_IDLE_S = env.number("CHAT_SESSION_IDLE_S", 0)  # 0 = no session is closed for that
CHAT_RETENTION_DAYS = env.days("CHAT_RETENTION_DAYS", 0)  # of closed sessions; 0 = kept for ever
CHAT_EVENTS_DAYS = env.days("CHAT_EVENTS_DAYS", 0)  # 0 = kept as long as their session
CHAT_TIDY_S = env.number("CHAT_TIDY_S", 60, least=0.1)
CHAT_AUDIT_DAYS = env.count("CHAT_AUDIT_DAYS", 0, most=env.DAYS_MOST)  # 0 = kept for ever
CHAT_DELTA_WINDOW_MS = env.number("CHAT_DELTA_WINDOW_MS", 30, most=10_000)  # 0: they are hardly joined
CHAT_LLM_CONNECT_S = env.number("CHAT_LLM_CONNECT_S", 5)
CHAT_LLM_FIRST_TOKEN_S = env.number("CHAT_LLM_FIRST_TOKEN_S", 30)
CHAT_LLM_BETWEEN_TOKENS_S = env.number("CHAT_LLM_BETWEEN_TOKENS_S", 30)
CHAT_LLM_TOTAL_S = env.number("CHAT_LLM_TOTAL_S", 300)
CHAT_LLM_ANSWER_CHARS = env.count("CHAT_LLM_ANSWER_CHARS", 1_000_000)  # with its thoughts and calls
CHAT_RUN_S = env.number("CHAT_RUN_S", 600)  # of work on one answer, unless its agent sets a limit
CHAT_RUN_STEPS = env.count("CHAT_RUN_STEPS", 10)  # calls of its LLM for one answer, likewise

# --- Django ----------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    # Its own site is not used: chat/admin has one, so that no package shows its rows there unasked.
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular_sidecar",  # the files of Swagger UI
    "chat",
]
MIDDLEWARE = [  # Django's and WhiteNoise's own, on the event loop
    "chatproject.middleware.Watched",
    "chatproject.middleware.Security",
    "chatproject.middleware.StaticFiles",
    "chatproject.middleware.Policy",
    "chatproject.middleware.Sessions",
    "chatproject.middleware.Language",
    "chatproject.middleware.Common",
    "chatproject.middleware.Csrf",
    "chatproject.middleware.Authentication",
    "chatproject.middleware.Messages",
    "chatproject.middleware.XFrameOptions",
]
ROOT_URLCONF = "chatproject.urls"
ASGI_APPLICATION = "chatproject.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
APPEND_SLASH = False  # every API path works with and without its slash; a redirect would lose a POST's body
AUTH_USER_MODEL = "chat.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_COOKIES = env.text("CHAT_SECURE_COOKIES", "0" if LOCAL else "1") == "1"
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = SECURE_COOKIES
# Browsers look at it over HTTPS alone. Told once, it cannot be taken back before it runs out.
SECURE_HSTS_SECONDS = env.count("CHAT_HSTS_S", 365 * 24 * 3600 if SECURE_COOKIES else 0)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CHAT_BEHIND_PROXY else None
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

UNFOLD = {
    "SITE_TITLE": "Chat",
    "SITE_HEADER": "Chat",
    "SITE_SYMBOL": "forum",
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("chat/icon.svg")}],
    "STYLES": [lambda _: static("chat/admin.css")],
    "SCRIPTS": [lambda _: static("chat/admin.js")],
    "SIDEBAR": {"show_search": True},
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "中文")]
LANGUAGE_COOKIE_NAME = "chat_language"  # the page's switch writes it too, as en or zh
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
FORMAT_MODULE_PATH = "chatproject.formats"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = CHAT_DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False
# Vite names the page's files for their content: they never change, and Django need not hash them again.
WHITENOISE_IMMUTABLE_FILE_TEST = r"^/static/app/assets/.+-[\w-]{8}\.\w+$"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASE_URL = env.text("DATABASE_URL", f"sqlite:///{quote(str(CHAT_DATA_DIR / 'chat.sqlite3'))}")
_database: dict[str, Any] = dict(dj_database_url.parse(DATABASE_URL))
if "sqlite" in str(_database["ENGINE"]):
    _database["ENGINE"] = "chat.sqlite"  # Django's own, with a queue for those who write
    # IMMEDIATE: a deferred transaction that reads and then writes fails at once with "database is locked" when another
    # writer came between, whatever the time-out. WAL: readers never wait for the writer.
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
    }
    # The thread that serves a socket or a run keeps its connection: opening one costs more than most queries.
    _database["CONN_MAX_AGE"] = None
else:
    _database["CONN_MAX_AGE"] = 0
    _asked: dict[str, Any] = _database.get("OPTIONS", {})  # what stands behind the ? of the URL, such as sslmode
    _database["OPTIONS"] = {
        # A new connection is tried for again and again, each time after twice as long: without a bound a minute's
        # outage is followed by another. After it, whoever asks for one begins anew.
        "pool": {"min_size": 2, "max_size": 24, "timeout": 10, "reconnect_timeout": 5},
        "connect_timeout": 5,
        # A Postgres that is gone without a word (its machine died, or what lies between lost its table): the kernel
        # would repeat what we said for a quarter of an hour, and wait for an answer for two. Times in s, but one.
        "tcp_user_timeout": 5000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        **_asked,
        # A process that is frozen inside a transaction holds its locks for no longer than this, in ms.
        "options": f"-c idle_in_transaction_session_timeout=10000 {_asked.get('options', '')}".strip(),
    }
DATABASES = {"default": _database}

CHANNEL_LAYERS = {"default": {"BACKEND": "chat.layers.ChatChannelLayer", "CONFIG": {"hosts": CHAT_REDIS_SHARDS}}}

REST_FRAMEWORK = {  # of which the authenticators alone are used (chat/api/doors.py)
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "chat.auth.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "UNAUTHENTICATED_USER": None,
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=env.count("CHAT_ACCESS_TOKEN_S", 900, least=1)),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=14),
    "LEEWAY": 5,  # seconds: the clock of the host that issued a token may be ahead of that of the one that reads it
    "ALGORITHM": "HS256",
    "USER_ID_FIELD": "id",
    "USER_ID_CLAIM": "user_id",
    "CHECK_REVOKE_TOKEN": True,
}

# --- watching it (docs/operations/monitoring.md) ----------------------------------------------------------------------
LOGGING = logs.settings(env.text("CHAT_LOG", "console" if LOCAL else "json"), env.text("CHAT_LOG_LEVEL", "INFO"))
CHAT_METRICS_TOKEN = env.text("CHAT_METRICS_TOKEN")  # opens web's /metrics
CHAT_METRICS_HOST = env.text("CHAT_METRICS_HOST", "127.0.0.1")
CHAT_METRICS_PORT = env.count("CHAT_METRICS_PORT", 0, most=65_535)  # of a worker; 0 = none
