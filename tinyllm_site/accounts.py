"""Who may sign in, and how: what django-allauth is told. In local mode nobody signs in.

Mail is no part of it. An address is a second name to sign in with, and a forgotten password is an
administrator's one-time link: a site without a mail server lacks nothing.
"""

from __future__ import annotations

from typing import Any

from tinyllm_site import env

# closed: nobody; accounts are made in the admin. invitation: who was invited. oidc: also whoever
# the provider below lets in. open: all.
TINYLLM_SIGNUP = env.text("TINYLLM_SIGNUP", "invitation")
TINYLLM_OIDC_ISSUER = env.text("TINYLLM_OIDC_ISSUER")
TINYLLM_OIDC_CLIENT_ID = env.text("TINYLLM_OIDC_CLIENT_ID")
TINYLLM_OIDC_CLIENT_SECRET = env.text("TINYLLM_OIDC_CLIENT_SECRET")
TINYLLM_OIDC_NAME = env.text("TINYLLM_OIDC_NAME", "Single sign-on")

ACCOUNT_APPS = [
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "allauth.usersessions",
]
# It extends Django's own: permissions and inactive users are treated as ever.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "new_session"

ACCOUNT_ADAPTER = "chat.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "chat.accounts.forms.SignInForm",
    "signup": "chat.accounts.forms.SignUpForm",
    "reauthenticate": "chat.accounts.forms.ProofForm",
    "change_password": "chat.accounts.forms.PasswordForm",
    "set_password": "chat.accounts.forms.FirstPasswordForm",
}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_REAUTHENTICATION_METHODS = ["password", "mfa"]
# Local mode's user: whoever had this name here would own everything there.
ACCOUNT_USERNAME_BLACKLIST = ["local"]
# Limits are counted by address: whose it is, a proxy has to tell.
ALLAUTH_TRUSTED_PROXY_COUNT = int(env.flag("TINYLLM_BEHIND_PROXY", default=False))

MFA_ADAPTER = "chat.accounts.adapter.SecondFactorAdapter"
MFA_FORMS = {
    "activate_totp": "chat.accounts.forms.AppForm",
    "authenticate": "chat.accounts.forms.SecondFactorForm",
    "reauthenticate": "chat.accounts.forms.SecondFactorProofForm",
    "add_webauthn": "chat.accounts.forms.PasskeyForm",
    "edit_webauthn": "chat.accounts.forms.PasskeyNameForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "TinyLLM"
# The codes of half a minute before and after: clocks differ.
MFA_TOTP_TOLERANCE = 1

SOCIALACCOUNT_ADAPTER = "chat.accounts.adapter.SocialAdapter"
SOCIALACCOUNT_FORMS = {"signup": "chat.accounts.forms.SocialSignUpForm"}
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "oidc",
                "name": TINYLLM_OIDC_NAME,
                "client_id": TINYLLM_OIDC_CLIENT_ID,
                "secret": TINYLLM_OIDC_CLIENT_SECRET,
                "settings": {"server_url": TINYLLM_OIDC_ISSUER},
            }
        ]
        if TINYLLM_OIDC_ISSUER
        else [],
    }
}

# What limits count lives in the process that serves. Enough room that nobody can push out his own.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
