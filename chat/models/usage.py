"""What was spent: one row an attempt and LLM, also of attempts that failed, were cancelled, drained or lost."""

from django.db import models
from django.utils import timezone

from chat.models.runs import Run


class Usage(models.Model):
    # Null: of a session that was deleted. What it cost is owed all the same.
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="spent", db_index=False)
    attempt = models.PositiveIntegerField()  # 0: what was done for the session beside it: its title, its summary
    llm = models.CharField("LLM", max_length=200)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    # Null: nobody knows the price. That is not 0, which a model of one's own may well cost.
    cost_usd = models.DecimalField("cost, USD", max_digits=14, decimal_places=6, null=True, default=None)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)  # the admin sums up by days

    class Meta:
        verbose_name_plural = "usage"
        constraints = [models.UniqueConstraint(fields=("run", "attempt", "llm"), name="one_usage_an_attempt_and_llm")]

    def __str__(self) -> str:
        return f"{self.run_id} {self.attempt}: {self.input_tokens} + {self.output_tokens}"
