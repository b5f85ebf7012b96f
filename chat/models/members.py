"""Who may see a session, and who may write in it."""

from django.db import models
from django.utils import timezone

from chat import protocol
from chat.models.sessions import ChatSession
from chat.models.users import User


class Member(models.Model):
    class Role(models.TextChoices):
        OWNER = "owner"
        MEMBER = "member"
        VIEWER = "viewer"

    session = models.ForeignKey(ChatSession, on_delete=models.CASCADE, related_name="members", db_index=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role.choices)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("session", "user"), name="one_membership")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role}"

    @property
    def may_write(self) -> bool:
        return self.role != Member.Role.VIEWER

    def as_data(self) -> protocol.MemberData:
        return {**self.user.as_data(), "role": self.role, "created_at": protocol.time(self.created_at)}
