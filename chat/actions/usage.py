"""What attempts cost: a row for each LLM that one asked, and the sum at the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import DecimalField, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from chat.actions.events import Log
from chat.models import Run, Usage

BESIDE = 0  # attempt number for spending beside a run (title, summary): not part of the run's total
SMALLEST_USD = Decimal("0.000001")  # what a column holds of it


@dataclass(slots=True)
class Spending:
    """What one LLM cost in an attempt; None: nobody knows its price."""

    llm: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None


def bill(run: Run, spent: Sequence[Spending]) -> list[Usage]:
    """A row for each LLM that an attempt asked. An attempt is accounted for once: a second time it is ignored."""
    return [
        Usage(
            run_id=run.pk,
            attempt=run.attempt,
            llm=one.llm,
            input_tokens=one.input_tokens,
            output_tokens=one.output_tokens,
            cost_usd=one.cost_usd,
        )
        for one in spent
    ]


def keep_bill(log: Log, run: Run, spent: Sequence[Spending]) -> None:
    if rows := bill(run, spent):
        log.add_row(*rows, ignore_conflicts=True)


def keep_beside(run: Run, spent: Sequence[Spending]) -> None:
    """Add what was spent beside a run to what is accounted for there already. Under the lock of its session."""
    for row in bill(run, [one for one in spent if one.input_tokens or one.output_tokens]):
        row.attempt = BESIDE
        known = Usage.objects.filter(run_id=run.pk, attempt=BESIDE, llm=row.llm).first()
        if known is not None:
            known.input_tokens += row.input_tokens
            known.output_tokens += row.output_tokens
            if known.cost_usd is not None:
                known.cost_usd = None if row.cost_usd is None else known.cost_usd + row.cost_usd
        (known or row).save()


def cost_with(run: Run, spent: Sequence[Spending]) -> dict[str, Any]:
    """What a run's earlier attempts cost, plus what this one has `spent`: as columns."""
    totals: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0, "cost_usd": Decimal(0)}
    if run.attempt > 1:
        totals = cost_of(Usage.objects.filter(run_id=run.pk).exclude(attempt__in=(run.attempt, BESIDE)))
    for one in spent:
        totals["input_tokens"] += one.input_tokens
        totals["output_tokens"] += one.output_tokens
        totals["cost_usd"] += (one.cost_usd or Decimal(0)).quantize(SMALLEST_USD)
    return totals


def cost_of(rows: "QuerySet[Usage]") -> dict[str, Any]:
    return rows.aggregate(
        input_tokens=Coalesce(Sum("input_tokens"), 0),
        output_tokens=Coalesce(Sum("output_tokens"), 0),
        cost_usd=Coalesce(Sum("cost_usd"), Value(Decimal(0)), output_field=DecimalField()),
    )
