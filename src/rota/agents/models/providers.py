"""The providers of models, and how a row names a model: what needs no LangChain."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple

from rota.domain.errors import InvalidInputError

SCRIPTED: Final = "scripted"

CALLABLE: Final = "callable:"
"""What the model of an agent begins with that is the operator's own code."""


class Provider(NamedTuple):
    """The Python module of a provider, and the variable of its key if one key is all it needs."""

    module: str
    key_variable: str | None = None


PROVIDERS: Final[Mapping[str, Provider]] = {
    "anthropic": Provider("langchain_anthropic", "ANTHROPIC_API_KEY"),
    "anthropic_bedrock": Provider("langchain_aws"),
    "azure_ai": Provider("langchain_azure_ai"),
    "azure_openai": Provider("langchain_openai", "AZURE_OPENAI_API_KEY"),
    "baseten": Provider("langchain_baseten", "BASETEN_API_KEY"),
    "bedrock": Provider("langchain_aws"),
    "bedrock_converse": Provider("langchain_aws"),
    "bedrock_mantle_anthropic": Provider("langchain_aws"),
    "bedrock_mantle_openai": Provider("langchain_aws"),
    "cohere": Provider("langchain_cohere", "COHERE_API_KEY"),
    "deepseek": Provider("langchain_deepseek", "DEEPSEEK_API_KEY"),
    "fireworks": Provider("langchain_fireworks", "FIREWORKS_API_KEY"),
    "google_anthropic_vertex": Provider("langchain_google_vertexai"),
    "google_genai": Provider("langchain_google_genai", "GOOGLE_API_KEY"),
    "google_vertexai": Provider("langchain_google_vertexai"),
    "groq": Provider("langchain_groq", "GROQ_API_KEY"),
    "huggingface": Provider("langchain_huggingface"),
    "ibm": Provider("langchain_ibm"),
    "langsmith": Provider("langchain_openai"),
    "litellm": Provider("langchain_litellm"),
    "meta": Provider("langchain_meta"),
    "mistralai": Provider("langchain_mistralai", "MISTRAL_API_KEY"),
    "nvidia": Provider("langchain_nvidia_ai_endpoints", "NVIDIA_API_KEY"),
    "ollama": Provider("langchain_ollama"),
    "openai": Provider("langchain_openai", "OPENAI_API_KEY"),
    "openrouter": Provider("langchain_openrouter", "OPENROUTER_API_KEY"),
    "perplexity": Provider("langchain_perplexity", "PPLX_API_KEY"),
    "together": Provider("langchain_together", "TOGETHER_API_KEY"),
    "upstage": Provider("langchain_upstage", "UPSTAGE_API_KEY"),
    "xai": Provider("langchain_xai", "XAI_API_KEY"),
}
"""The providers of LangChain's `init_chat_model`; a test keeps the list equal to its own."""


def parse_model(spec: str) -> tuple[str, str]:
    """Return the provider and the model that `provider:model` names; raises InvalidInputError."""
    named, colon, model = spec.strip().partition(":")
    provider = named.strip().lower().replace("-", "_")
    if not colon or not provider or not model.strip():
        raise InvalidInputError(
            f"The model {spec!r} is not of the form provider:model, "
            f"such as anthropic:claude-sonnet-5.",
            field="model",
        )
    if provider != SCRIPTED and provider not in PROVIDERS:
        near = get_close_matches(provider, [*PROVIDERS, SCRIPTED], n=1)
        there_are = f"; there are {', '.join(sorted([*PROVIDERS, SCRIPTED]))}"
        hint = f" (perhaps {near[0]})" if near else there_are
        raise InvalidInputError(f"There is no model provider {named!r}{hint}.", field="model")
    return provider, model.strip()
