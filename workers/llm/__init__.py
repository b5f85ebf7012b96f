"""Language models by name: "demo", "openai:MODEL", "anthropic:MODEL". A provider is loaded when first asked for."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module

from workers.llm.base import LLM, Limits
from workers.llm.guarded import Guarded
from workers.llm.loops import close_clients

__all__ = ["close_clients", "is_loaded", "open_llm"]

# The first word of a model's name → the module whose `open_model(name, limits, env)` opens it.
PROVIDERS = {
    "demo": "workers.llm.demo",
    "openai": "workers.llm.openai",
    "anthropic": "workers.llm.anthropic",
}


def open_llm(name: str, limits: Limits, *, env: Mapping[str, str] = os.environ) -> LLM:
    """Open the model of that name. Costs no request; may be called anywhere, before any event loop runs.

    Raises: ValueError, with a text for whoever set the name.
    """
    provider = _provider_of(name)
    if provider not in PROVIDERS:
        known = ", ".join(sorted(PROVIDERS))
        raise ValueError(
            f"There is no language model {name!r}: it starts with none of {known}. "
            "Try 'demo', 'openai:MODEL' or 'anthropic:MODEL'."
        )
    llm: LLM = import_module(PROVIDERS[provider]).open_model(name, limits, env)
    return Guarded(llm, limits)


def is_loaded(name: str) -> bool:
    """Whether that model opens at once: its provider's packages are here."""
    return PROVIDERS.get(_provider_of(name)) in sys.modules


def _provider_of(name: str) -> str:
    return name.replace("?", ":", 1).partition(":")[0]
