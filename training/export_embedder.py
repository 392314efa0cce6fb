"""Export all-MiniLM-L6-v2 to ONNX: fp32, then dynamically quantised to int8 (the file the package ships).

    python -m training.export_embedder --out DIR [--check] [--data ../shared/data]

Needs the extra `training` (torch); nobody who only runs a twin needs it. The output of both files is
`last_hidden_state` (batch, tokens, 384): pooling is done by `twin.models.embed`, which also wants the
vectors of single tokens. `--check` compares both files with torch and prints their ranking quality
and speed (training/embedder_check.py).
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

from twin.errors import InputError, ModelError, TwinError
from twin.extras import require
from twin.models.catalogue import find_model
from twin.models.files import ModelFiles, describe_file, pull
from twin.settings import load_settings

SOURCE_ALIAS = "minilm-fp32"
OPSET = 17
MASKED = -10000.0
"""Added to the scores of padding: far below any score, and exact in every float format."""
LARGEST_DIFFERENCE = 1e-4
"""fp32 export against torch; the two were 4e-6 apart when this was set."""


def load_torch_model(files: ModelFiles) -> Any:
    """The published weights in torch, in evaluation mode, with attention that can be traced."""
    transformers = require("transformers", "training")
    torch = require("torch", "training")
    model = transformers.AutoModel.from_pretrained(
        files["model.safetensors"].parent, attn_implementation="eager", dtype=torch.float32
    )
    return model.eval()


def export_fp32(model: Any, target: Path) -> None:
    """Trace `model` into `target` with free batch and length.

    The legacy exporter is used because `quantize_dynamic` rejects the graphs of the new one. The
    mask is widened here: transformers' own widening branches on lengths, which a trace would freeze.
    """
    torch = require("torch", "training")

    class TokenVectors(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            bias = ((1.0 - attention_mask.to(torch.float32)) * MASKED)[:, None, None, :]
            segments = torch.zeros_like(input_ids)
            return self.model(input_ids=input_ids, attention_mask=bias, token_type_ids=segments).last_hidden_state

    ids = torch.randint(1000, 20000, (2, 16))
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    axes = {0: "batch", 1: "tokens"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # eval() on the wrapper too: the exporter restores its mode afterwards, dropout and all.
        torch.onnx.export(
            TokenVectors().eval(),
            (ids, mask),
            str(target),
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys(("input_ids", "attention_mask", "last_hidden_state"), axes),
            opset_version=OPSET,
            dynamo=False,
        )


def quantise(source: Path, target: Path) -> None:
    """Weights per channel to 7 bits of int8, activations on the fly.

    `reduce_range`: without it, x86 processors before VNNI saturate in 16 bits and silently give other
    vectors; with it every machine gives the same ones, at no measurable loss of ranking.
    """
    require("onnx", "training")
    quantization = require("onnxruntime.quantization", "training")
    logging.getLogger().setLevel(logging.ERROR)
    quantization.quantize_dynamic(
        str(source), str(target), weight_type=quantization.QuantType.QInt8, per_channel=True, reduce_range=True
    )


def compare_with_torch(model: Any, exported: Path) -> float:
    """Largest absolute difference of any token's output from torch, over several shapes with padding.

    Raises ModelError if it is above `LARGEST_DIFFERENCE`: exporters have given wrong graphs in silence.
    """
    import numpy as np
    import onnxruntime

    torch = require("torch", "training")
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch, tokens in ((1, 3), (1, 17), (3, 64), (2, 256)):
        ids = torch.randint(1000, 20000, (batch, tokens), generator=generator)
        mask = torch.ones_like(ids)
        mask[-1, tokens // 2 + 1 :] = 0
        with torch.no_grad():
            expected = model(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
        (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        worst = max(worst, float(np.abs(expected - found)[mask.numpy().astype(bool)].max()))
    if worst > LARGEST_DIFFERENCE:
        raise ModelError(f"{exported} is not the model it was exported from: outputs differ by {worst:.2g}")
    return worst


def export(out: Path, files: ModelFiles) -> tuple[Path, Path]:
    """Write `out`/fp32 and `out`/int8, each model.onnx with tokenizer.json; returns the two folders."""
    model = load_torch_model(files)
    fp32, int8 = out / "fp32", out / "int8"
    for folder in (fp32, int8):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files["tokenizer.json"], folder / "tokenizer.json")
    export_fp32(model, fp32 / "model.onnx")
    print(f"fp32 against torch: largest difference {compare_with_torch(model, fp32 / 'model.onnx'):.1e}")
    quantise(fp32 / "model.onnx", int8 / "model.onnx")
    for path in (fp32 / "model.onnx", int8 / "model.onnx"):
        size, sha256 = describe_file(path)
        print(f"{path}: {size} bytes, sha256 {sha256}")
    return fp32, int8


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.export_embedder", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for fp32/ and int8/")
    parser.add_argument("--check", action="store_true", help="measure ranking quality and speed")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the public test sets")
    options = parser.parse_args(arguments)
    try:
        if options.check and not (options.data / "cranfield").is_dir():
            raise InputError(f"--check needs the test sets, and {options.data} has no cranfield", "Name it with --data")
        settings = load_settings()
        find_model(SOURCE_ALIAS)
        folders = export(options.out, pull(SOURCE_ALIAS, settings))
        if options.check:
            from training.embedder_check import print_comparison

            print_comparison(folders, options.data, settings)
    except TwinError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
