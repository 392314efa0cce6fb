"""Process settings: one typed object, read from the environment and `.env`, prefix `TWIN_`.

This is the only module that reads the environment. Reading has no side effects: folders are made
by whoever writes into them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from twin.errors import ConfigError


class Endpoint(BaseModel):
    """An OpenAI-compatible chat endpoint that `TWIN_CHAT_MODEL` can name."""

    base_url: str = Field(description="root of the API, up to and including /v1")
    model: str = Field(description="model name sent to the endpoint")
    api_key: SecretStr = Field(default=SecretStr("none"), description="bearer token, if it wants one")


class Settings(BaseSettings):
    """All settings. Precedence: request > environment > `.env` > default."""

    model_config = SettingsConfigDict(
        env_prefix="TWIN_", env_file=".env", env_nested_delimiter="__", extra="ignore", frozen=True
    )

    home: Path = Field(default=Path("~/.twin"), description="shared between projects: model files, default data")
    data_dir: Path | None = Field(default=None, description="corpora, indexes, conversations; default HOME/data")
    tenant: str = Field(
        default="default", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="which twin: its own corpus and index"
    )
    persona: str = Field(default="", description='the author who is "I"; default: the one with most documents')

    chat_model: str = Field(
        default="extractive",
        description="who writes answers: extractive (no model), smollm2 (local), fake, or a name from ENDPOINTS",
    )
    endpoints: dict[str, Endpoint] = Field(
        default_factory=dict,
        description='chat endpoints by alias, as JSON: {"big": {"base_url": ..., "model": ..., "api_key": ...}}',
    )
    chat_timeout: float = Field(default=60.0, gt=0, description="seconds to wait for a chat model")
    chat_max_tokens: int = Field(default=400, gt=0, description="longest answer a chat model may write, in tokens")
    chat_retries: int = Field(default=2, ge=0, le=10, description="times a failed call to a chat model is repeated")
    embedder: str = Field(default="minilm", description="embedding model: an alias of `twin models list`")
    hub_url: str = Field(default="https://huggingface.co", description="model hub, or a mirror of it")
    threads: int = Field(default=0, ge=0, description="CPU threads for local models; 0: one per core, at most 8")

    chunk_words: int = Field(default=180, ge=40, le=400, description="words per passage, about")
    retrieve_limit: int = Field(
        default=10, ge=1, le=100, description="passages retrieved per question; a chat model is shown the best five"
    )
    dense_weight: float = Field(default=0.6, ge=0, le=1, description="share of dense similarity against BM25")
    answer_sentences: int = Field(default=5, ge=1, le=20, description="most sentences of an answer")
    abstain_below: float | None = Field(
        default=None, ge=0, le=1, description="abstain under this confidence; default: the calibrated threshold"
    )

    host: str = Field(default="127.0.0.1", description="address `twin serve` listens on")
    port: int = Field(default=8000, ge=1, le=65535, description="port `twin serve` listens on")
    attach: bool = Field(default=True, description="`twin ask` uses a running server of the same twin")
    max_question_chars: int = Field(default=8000, ge=1, description="longest question accepted, in characters")
    max_file_bytes: int = Field(default=20_000_000, ge=1, description="longest file ingested, in bytes")
    lock_timeout: float = Field(default=30.0, ge=0, description="seconds to wait for another writer")
    run_timeout: float = Field(default=300.0, gt=0, description="seconds after which a run is stopped")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="WARNING", description="log to stderr")

    @field_validator("home", "data_dir", mode="after")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path is not None else None

    @property
    def models_dir(self) -> Path:
        """Where model files are cached, shared between projects."""
        return self.home.expanduser().absolute() / "models"

    @property
    def tenant_dir(self) -> Path:
        """Everything this twin stores."""
        root = self.data_dir if self.data_dir is not None else self.home.expanduser().absolute() / "data"
        return root / self.tenant

    @property
    def warehouse_dir(self) -> Path:
        return self.tenant_dir / "warehouse"

    @property
    def index_dir(self) -> Path:
        return self.tenant_dir / "index"

    @property
    def database_file(self) -> Path:
        """SQLite: conversations (checkpoints)."""
        return self.tenant_dir / "twin.sqlite"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The process's settings, read once.

    Raises ConfigError naming each setting that is wrong; values are not repeated, they may be secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"TWIN_{'__'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigError(f"settings are not valid: {wrong}", "See .env.example for every setting") from None
    except SettingsError as error:
        # The library names the field in its message only, and its cause holds the value.
        field = re.search(r'field "(\w+)"', str(error))
        name = f"TWIN_{field[1].upper()}" if field else "a setting"
        raise ConfigError(
            f"settings are not valid: {name} is not JSON",
            """Write it like '{"big": {"base_url": "http://host:8001/v1", "model": "name"}}'""",
        ) from None
