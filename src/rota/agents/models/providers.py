"""The providers of models, and how a row names a model. Loads no LangChain."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple

from rota.domain.errors import InvalidInputError

SCRIPTED: Final = "scripted"

CALLABLE: Final = "callable:"
"""What the model of an agent begins with that is the operator's own code."""


class Provider(NamedTuple):
    """How a provider is reached, and what its name is elsewhere.

    `key_variable` is the environment variable of its key, if it needs exactly one key. `prices` is
    its name in the library of prices; without one, no price is guessed. `retries` is the
    `max_retries` that keeps its client from retrying: 1 where the client counts attempts (0 would
    mean its default). Without `retries`, the client has no such setting (ollama does not retry), or
    nobody has checked: it may retry unseen.
    """

    module: str
    key_variable: str | None = None
    prices: str | None = None
    retries: int | None = None


PROVIDERS: Final[Mapping[str, Provider]] = {
    "anthropic": Provider(
        "langchain_anthropic", "ANTHROPIC_API_KEY", prices="anthropic", retries=0
    ),
    "anthropic_bedrock": Provider("langchain_aws", prices="aws", retries=0),
    "azure_ai": Provider("langchain_azure_ai", prices="azure"),
    "azure_openai": Provider("langchain_openai", "AZURE_OPENAI_API_KEY", prices="azure", retries=0),
    "baseten": Provider("langchain_baseten", "BASETEN_API_KEY", "baseten"),
    "bedrock": Provider("langchain_aws", prices="aws", retries=0),
    "bedrock_converse": Provider("langchain_aws", prices="aws", retries=0),
    "bedrock_mantle_anthropic": Provider("langchain_aws", prices="aws", retries=0),
    "bedrock_mantle_openai": Provider("langchain_aws", prices="aws", retries=0),
    "cohere": Provider("langchain_cohere", "COHERE_API_KEY", "cohere"),
    "deepseek": Provider("langchain_deepseek", "DEEPSEEK_API_KEY", "deepseek", retries=0),
    "fireworks": Provider(
        "langchain_fireworks", "FIREWORKS_API_KEY", prices="fireworks", retries=0
    ),
    "google_anthropic_vertex": Provider("langchain_google_vertexai", prices="google"),
    "google_genai": Provider(
        "langchain_google_genai", "GOOGLE_API_KEY", prices="google", retries=1
    ),
    "google_vertexai": Provider("langchain_google_vertexai", prices="google"),
    "groq": Provider("langchain_groq", "GROQ_API_KEY", "groq", retries=0),
    "huggingface": Provider("langchain_huggingface"),
    "ibm": Provider("langchain_ibm"),
    "langsmith": Provider("langchain_openai", retries=0),
    "litellm": Provider("langchain_litellm"),
    "meta": Provider("langchain_meta", prices="meta"),
    "mistralai": Provider("langchain_mistralai", "MISTRAL_API_KEY", "mistral", retries=1),
    "nvidia": Provider("langchain_nvidia_ai_endpoints", "NVIDIA_API_KEY"),
    "ollama": Provider("langchain_ollama"),
    "openai": Provider("langchain_openai", "OPENAI_API_KEY", "openai", retries=0),
    "openrouter": Provider(
        "langchain_openrouter", "OPENROUTER_API_KEY", prices="openrouter", retries=0
    ),
    "perplexity": Provider("langchain_perplexity", "PPLX_API_KEY", prices="perplexity", retries=0),
    "together": Provider("langchain_together", "TOGETHER_API_KEY", "together", retries=0),
    "upstage": Provider("langchain_upstage", "UPSTAGE_API_KEY"),
    "xai": Provider("langchain_xai", "XAI_API_KEY", "x-ai", retries=0),
}
"""The providers of LangChain's `init_chat_model`; a test keeps the list equal to its own."""

SUGGESTED_MODELS: Final[Mapping[str, str]] = {
    "anthropic": "anthropic:claude-sonnet-5-5",
    "openai": "openai:gpt-5-mini",
    "google_genai": "google_genai:gemini-2.5-flash",
    "mistralai": "mistralai:mistral-large-latest",
    "groq": "groq:llama-3.3-70b-versatile",
    "deepseek": "deepseek:deepseek-chat",
}
"""What is offered where a provider's key is set; any other model of the provider works as well."""


def parse_model(spec: str) -> tuple[str, str]:
    """Return the provider and the model that `provider:model` names; raises InvalidInputError."""
    named, colon, model = spec.strip().partition(":")
    provider = named.strip().lower().replace("-", "_")
    if not colon or not provider or not model.strip():
        raise InvalidInputError(
            f"The model {spec!r} is not of the form provider:model, "
            f"such as anthropic:claude-sonnet-5-5.",
            field="model",
        )
    if provider != SCRIPTED and provider not in PROVIDERS:
        near = get_close_matches(provider, [*PROVIDERS, SCRIPTED], n=1)
        there_are = f"; there are {', '.join(sorted([*PROVIDERS, SCRIPTED]))}"
        hint = f" (perhaps {near[0]})" if near else there_are
        raise InvalidInputError(f"There is no model provider {named!r}{hint}.", field="model")
    return provider, model.strip()
