"""Which paths lead where."""

from django.urls import include, path

from chat.admin import site
from chat.api.errors import bad_request
from chat.api.sign_in import AdminForm

site.login_form = AdminForm

handler400 = bad_request
urlpatterns = [path("", include("chat.urls")), path("admin/", site.urls)]
