"""The shop that comes with the server: orders for the agent `support` to look after, so that tools can be tried."""

from decimal import Decimal

from django.core.validators import MaxValueValidator
from django.db import models
from django.utils import timezone


class Order(models.Model):
    class Status(models.TextChoices):
        PROCESSING = "processing"
        SHIPPED = "shipped"
        DELIVERED = "delivered"
        CANCELLED = "cancelled"

    id = models.CharField("order", max_length=20, primary_key=True)
    customer = models.CharField(max_length=120)
    items = models.JSONField(default=list)  # {name, quantity, price}
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PROCESSING)
    total = models.DecimalField(max_digits=10, decimal_places=2)  # before the discount
    discount_percent = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(100)])
    carrier = models.CharField(max_length=60, blank=True)
    tracking_number = models.CharField(max_length=60, blank=True)
    ordered_at = models.DateTimeField(default=timezone.now)
    shipped_at = models.DateTimeField(null=True, blank=True)
    expected_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.id} {self.status}"

    @property
    def to_pay(self) -> Decimal:
        return (self.total * (100 - self.discount_percent) / 100).quantize(Decimal("0.01"))


class OrderChange(models.Model):
    """What was done to an order, written with it: the key is that of the tool call, so no call counts twice."""

    key = models.CharField(max_length=100, primary_key=True)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="changes")
    what = models.CharField(max_length=40)
    args = models.JSONField(default=dict)
    result = models.JSONField(default=dict)  # what the first call was told, and every repetition is
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.what} {self.order_id}"
