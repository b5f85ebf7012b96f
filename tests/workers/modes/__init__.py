"""Tests of the modes. A mode takes values and yields values, so most models here are lists."""
