"""Which paths lead where."""

from django.urls import include, path

from chat.admin import site
from chat.api.sign_in import AdminForm

site.login_form = AdminForm

urlpatterns = [path("", include("chat.urls")), path("admin/", site.urls)]
