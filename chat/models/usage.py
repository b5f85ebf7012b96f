"""What was spent: one row an attempt, also of failed and cancelled ones."""

from django.db import models
from django.utils import timezone

from chat.models.runs import Run


class Usage(models.Model):
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="spent", db_index=False)
    attempt = models.PositiveIntegerField()
    llm = models.CharField(max_length=200)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)  # the admin sums up by days

    class Meta:
        verbose_name_plural = "usage"
        constraints = [models.UniqueConstraint(fields=("run", "attempt"), name="one_usage_an_attempt")]

    def __str__(self) -> str:
        return f"{self.run_id} {self.attempt}: {self.input_tokens} + {self.output_tokens}"
