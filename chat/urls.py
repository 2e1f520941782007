"""Addresses of the pages and of all that they ask for, included below any address."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern, URLResolver, include, path
from django.views.i18n import set_language

from chat import views
from chat.api import api
from chat.api_v1.api import api as api_v1
from chat.learn import views as learn
from chat.privacy.views import opened, own_archive, own_data
from chat.saved_prompts import views as saved_prompts
from chat.shared_page import shared

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.new_session, name="new_session"),
    path("sessions/<uuid:session_id>/", views.session, name="session"),
    path("sessions/<uuid:session_id>/earlier/", views.earlier, name="earlier"),
    path("sessions/<uuid:session_id>/opened/", opened, name="opened"),
    path("my-data/", own_data, name="own_data"),
    path("my-data/archive/", own_archive, name="own_archive"),
    path("prompts/", saved_prompts.prompts, name="prompts"),
    path("prompts/<uuid:prompt_id>/", saved_prompts.prompt, name="prompt"),
    path("prompts/<uuid:prompt_id>/delete/", saved_prompts.delete, name="prompt_delete"),
    path(
        "prompts/<uuid:prompt_id>/versions/<int:number>/restore/",
        saved_prompts.restore,
        name="prompt_restore",
    ),
    path("learn/", learn.learn, name="learn"),
    path("learn/source/<path:path>", learn.source, name="learn_source"),
    path("shared/<str:token>/", shared, name="shared"),
    path("setup/<str:token>/", views.setup, name="setup"),
    path("account/", include("chat.accounts.urls")),
    path("api/v1/", api_v1.urls),
    path("api/", api.urls),
    # Whoever is about to sign in may choose a language too.
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
]
