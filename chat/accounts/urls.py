"""Addresses of accounts, below /account/. allauth's views are named one by one: what needs a mail
server is not among them."""

from __future__ import annotations

from allauth.account import views as allauth_views
from allauth.socialaccount.providers.openid_connect import views as oidc_views
from django.urls import URLPattern, URLResolver, include, path

from chat.accounts import views

_SIGNING_IN: list[URLPattern | URLResolver] = [
    path("login/", allauth_views.login, name="account_login"),
    path("logout/", allauth_views.logout, name="account_logout"),
    path("inactive/", allauth_views.account_inactive, name="account_inactive"),
    path("signup/", allauth_views.signup, name="account_signup"),
    path("reauthenticate/", allauth_views.reauthenticate, name="account_reauthenticate"),
    path("password/change/", allauth_views.password_change, name="account_change_password"),
    path("password/set/", allauth_views.password_set, name="account_set_password"),
    path("2fa/", include("allauth.mfa.urls")),
    path("3rdparty/", include("allauth.socialaccount.urls")),
    path("oidc/<str:provider_id>/login/", views.provider_login, name="openid_connect_login"),
    path(
        "oidc/<str:provider_id>/login/callback/",
        oidc_views.callback,
        name="openid_connect_callback",
    ),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.account, name="account"),
    path("elsewhere/", views.sign_out_elsewhere, name="account_sign_out_elsewhere"),
    path("tokens/", views.tokens, name="account_tokens"),
    path("tokens/new/", views.token_new, name="account_token_new"),
    path("tokens/<uuid:token_id>/revoke/", views.token_end, name="account_token_revoke"),
    path("invitation/<str:secret>/", views.invitation, name="account_invitation"),
    path("password/link/<str:secret>/", views.password_link, name="account_password_link"),
    *_SIGNING_IN,
]
