"""Who signs in."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models

from chat import protocol


class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    def as_data(self) -> protocol.UserData:
        return {"user_id": str(self.id), "username": self.username, "name": self.get_full_name() or self.username}

    def as_author(self) -> protocol.AuthorData:
        return {"kind": "user", "name": self.username, "title": self.get_full_name(), "avatar": "", "color": ""}
