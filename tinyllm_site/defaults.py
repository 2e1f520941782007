"""What the apps need to be told, with defaults: `from tinyllm_site.defaults import *`.

The site's own settings begin with this, and so do those of another project that the apps are added
to (docs/embedding.md). What a project says behind that line holds. It says itself what nobody can
say for it: its database, its user model, its keys, and whether it is in local mode (TINYLLM_LOCAL).
"""

from __future__ import annotations

from django.templatetags.static import static
from django.utils.module_loading import import_string

from tinyllm_site import env
from tinyllm_site.accounts import *  # noqa: F403  (a part of the settings, in a room of its own)
from tinyllm_site.accounts import ACCOUNT_APPS
from tinyllm_site.logging import configure

TINYLLM_DATA_DIR = env.directory("TINYLLM_DATA_DIR", env.BASE_DIR / "var")
TINYLLM_MODELS_DIR = env.directory("TINYLLM_MODELS_DIR", env.BASE_DIR / "models")
TINYLLM_HUB_ENDPOINT = env.text("HF_ENDPOINT", "https://huggingface.co")
TINYLLM_HUB_TOKEN = env.secret("HF_TOKEN")
TINYLLM_HUB_OFFLINE = env.flag("HF_HUB_OFFLINE", default=False)
# One core stays free for the web process: OpenMP collapses when the two fight for cores.
TINYLLM_THREADS = env.integer("TINYLLM_THREADS", max(1, env.cores() - 1))
# None: as it suits the device and its memory.
TINYLLM_KV_TOKENS = env.integer_or_auto("TINYLLM_KV_TOKENS")
TINYLLM_CONTEXT_TOKENS = env.integer("TINYLLM_CONTEXT_TOKENS", 0)
TINYLLM_MAX_BATCH = env.integer_or_auto("TINYLLM_MAX_BATCH")
TINYLLM_MEMORY_GB = env.number_or_auto("TINYLLM_MEMORY_GB")
# Longer than people pause in a conversation: the next message should not wait for its model.
TINYLLM_KEEP_ALIVE_S = env.number("TINYLLM_KEEP_ALIVE_S", 1800)
TINYLLM_KV_DISK_MB = env.integer("TINYLLM_KV_DISK_MB", 2048)
TINYLLM_KV_IDLE_S = env.integer("TINYLLM_KV_IDLE_S", 30)
TINYLLM_ENCRYPTION_KEYS = env.secrets("TINYLLM_ENCRYPTION_KEYS")
TINYLLM_FILTERS = env.names("TINYLLM_FILTERS")
TINYLLM_FILTER_WORDS = env.text("TINYLLM_FILTER_WORDS")
# Code of other projects, which runs only where it is named here, in the filters or the catalogue.
TINYLLM_PLUGINS = env.names("TINYLLM_PLUGINS")
TINYLLM_TOOLS = env.names("TINYLLM_TOOLS")
TINYLLM_SAMPLER = env.text("TINYLLM_SAMPLER")
TINYLLM_DEFAULT_MODEL = env.text("TINYLLM_DEFAULT_MODEL", "chat")
TINYLLM_DEADLINE_S = env.integer("TINYLLM_DEADLINE_S", 0)
TINYLLM_DISCONNECT_GRACE_S = env.integer("TINYLLM_DISCONNECT_GRACE_S", 30)
TINYLLM_FILE_MB = env.integer("TINYLLM_FILE_MB", 20)
TINYLLM_FILE_PAGES = env.integer("TINYLLM_FILE_PAGES", 1000)
TINYLLM_FILE_CHARACTERS = env.integer("TINYLLM_FILE_CHARACTERS", 2_000_000)
TINYLLM_FILE_SECONDS = env.integer("TINYLLM_FILE_SECONDS", 30)
TINYLLM_FILE_MEMORY_MB = env.integer("TINYLLM_FILE_MEMORY_MB", 1024)
TINYLLM_FILES_PER_MESSAGE = env.integer("TINYLLM_FILES_PER_MESSAGE", 10)
TINYLLM_FILES_OWNER_MB = env.integer("TINYLLM_FILES_OWNER_MB", 200)
# 0: no limit. What a person or the members of a group may use is said in the admin.
TINYLLM_TOKENS_PER_DAY = env.integer("TINYLLM_TOKENS_PER_DAY", 0)
TINYLLM_CONCURRENT_TURNS = env.integer("TINYLLM_CONCURRENT_TURNS", 0)
# Days after the last message; 0: for ever. What holds for a group is said in the admin.
TINYLLM_RETENTION_DAYS = env.integer("TINYLLM_RETENTION_DAYS", 0)
TINYLLM_DEVICE = env.text("TINYLLM_DEVICE", "auto")
TINYLLM_DTYPE = env.text("TINYLLM_DTYPE", "auto")
TINYLLM_BACKEND = env.text("TINYLLM_BACKEND", "auto")
TINYLLM_COMPUTE = env.text("TINYLLM_COMPUTE", "fp32")
TINYLLM_DETERMINISTIC = env.flag("TINYLLM_DETERMINISTIC", default=False)
# CuPy asks for it when it is imported; its own default is the home folder.
env.hand_on("CUPY_CACHE_DIR", env.directory("CUPY_CACHE_DIR", TINYLLM_DATA_DIR / "kernels"))
TINYLLM_LOG_STEPS = env.flag("TINYLLM_LOG_STEPS", default=False)
TINYLLM_OTLP_ENDPOINT = env.text("OTEL_EXPORTER_OTLP_ENDPOINT")
TINYLLM_ENGINE_FACTORY = env.text("TINYLLM_ENGINE_FACTORY", "chat.engine.build")
# Set it only where every request passes a proxy that writes X-Forwarded-Proto itself.
TINYLLM_BEHIND_PROXY = env.flag("TINYLLM_BEHIND_PROXY", default=False)

# In a project's INSTALLED_APPS, behind Django's own and "unfold" in front of those.
TINYLLM_APPS = [
    "channels",
    "ninja",
    *ACCOUNT_APPS,
    "inference.apps.InferenceConfig",
    "chat.apps.ChatConfig",
]
# In its TEMPLATES["DIRS"] and its STATICFILES_DIRS, behind folders of its own, which go before.
TINYLLM_TEMPLATES = env.BASE_DIR / "templates"
TINYLLM_STATIC = env.BASE_DIR / "static"

MIDDLEWARE = [
    "chat.middleware.RequestIdMiddleware",
    # In front of whoever answers by himself: a refusal and a file have these headers too.
    "tinyllm_site.content_policy.ContentPolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "chat.api_edge.ApiEdgeMiddleware",
    "tinyllm_site.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "chat.middleware.LocalUserMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "chat.accounts.gate.SignInMiddleware",
    "chat.audit.AuditMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# WAL: readers never wait for the writer. IMMEDIATE: a transaction that will write takes its
# turn at the beginning, where waiting works, and not in the middle, where it fails.
TINYLLM_SQLITE_OPTIONS = {
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
}

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# A JSON body may write each of a million characters as \\uXXXX, or as two of those.
DATA_UPLOAD_MAX_MEMORY_SIZE = 13_000_000

UNFOLD = {
    "SITE_TITLE": "TinyLLM",
    "SITE_HEADER": "TinyLLM",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("chat/favicon.svg"),
        }
    ],
    # None of its own: it would write them into a style element, which its policy does not allow.
    "COLORS": lambda request: {},
    "STYLES": [lambda request: static("chat/admin.css")],
    "SCRIPTS": [lambda request: static("chat/admin.js")],
    "SIDEBAR": {
        "show_all_applications": False,
        "navigation": lambda request: import_string("chat.operations.navigation.navigation")(
            request
        ),
    },
}

# Every variable that was read above, with where it came from, and who knows what has become of it.
TINYLLM_READ = env.READ
TINYLLM_SETTING_ROWS = "chat.live_settings.setting_rows"

# Logs as JSON lines. A project with a way of its own says LOGGING_CONFIG and LOGGING again.
LOGGING_CONFIG = None
configure(steps=TINYLLM_LOG_STEPS)
