"""Which paths lead where."""

from django.urls import include, path

from chat.admin import site

urlpatterns = [path("", include("chat.urls")), path("admin/", site.urls)]
