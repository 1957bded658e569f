"""URLs of the site: Django's admin, sign-in, the pages of Field Notes."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("testproject.notes.urls")),
    path("", include("testproject.talk.urls")),
    path("accounts/", include("testproject.notes.account_urls")),
    path("admin/", admin.site.urls),
    # Only with DEBUG: without it a web server or WhiteNoise serves these files.
    *staticfiles_urlpatterns(),
]

websocket_urlpatterns = [path("ws/", include("testproject.talk.urls"))]
