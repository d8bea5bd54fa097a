"""`k2rl export RUN`: the weights of a checkpoint as a folder that vLLM and transformers open as it is, INT4 or BF16.

A run that ends by itself leaves its last weights in export/. This is for one that was stopped, that is still going on,
or whose earlier checkpoint was better. In BF16 the folder holds the masters before the grid (LoRA merged): what other
trainers and other quantisers begin with, and what INT4 is compared with in `rl.evaluate`.

Exit status: 0 done; 2 the run or the step is not right, or the folder is taken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gyms.extras import EXTRAS, check_installed
from rl.cli import quiet

__all__ = ["export", "main"]

DESCRIPTION = """\
Write the weights of a run's checkpoint as a folder that vLLM and transformers open as it is: packed INT4, or with
--bf16 as they are before they are rounded to INT4. Nothing in the run folder is changed; a run that goes on is not
disturbed."""

EPILOG = """\
examples:
  k2rl export runs/smollm2_cpu                               the newest checkpoint, into runs/smollm2_cpu/export_step_20
  k2rl export runs/tiny_cpu --step 50 --output /tmp/fifty    another one, elsewhere
  k2rl export runs/smollm2_cpu --bf16                        not rounded, into runs/smollm2_cpu/export_bf16_step_20
  python -m vllm.entrypoints.openai.api_server --model runs/smollm2_cpu/export_step_20 --enforce-eager

A run keeps its newest `checkpoint.keep` checkpoints, one every `checkpoint.every` steps."""


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.export") -> int:
    """Parse, export; the exit status."""
    options = _parser(prog).parse_args(arguments)
    try:
        quiet()
        check_installed(EXTRAS, user="an export", extra="cpu")
        folder = export(options.run, options.step, options.output, is_bf16=options.bf16, say=_say)
    except (OSError, ValueError) as error:
        print(f"not exported: {error}", file=sys.stderr)
        return 2
    print(folder)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def export(
    run: Path,
    step: int | None,
    output: Path | None,
    *,
    is_bf16: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write a checkpoint's weights; the folder.

    Args:
        run: the run folder.
        step: of the checkpoint, the steps that are done; None: the newest.
        output: must not exist, or be empty; as OUTPUT_ema, where the average of the weights goes. None:
            `export_step_<n>` or `export_bf16_step_<n>` in the run folder.
        is_bf16: the masters, not their image on the grid.
        say: takes a line for people.

    Raises:
        ValueError: no such run or checkpoint, or the folder is taken.
    """
    from rl.checkpoint import complete_checkpoints
    from rl.learner import Learner
    from rl.offline import config_of, model_folder_of
    from rl.run_folder import RunFolder
    from rl.settings import learner_settings
    from rollout.quant.checkpoint import packed_tensors, write_model_folder

    folder = RunFolder(run.absolute())
    config = config_of(folder)
    found = {checkpoint.step: checkpoint for checkpoint in complete_checkpoints(folder.checkpoints)}
    if not found:
        raise ValueError(f"{folder.path} has no checkpoint yet (checkpoint.every = {config.checkpoint.every})")
    wanted = max(found) if step is None else step
    if wanted not in found:
        steps = ", ".join(map(str, sorted(found)))
        raise ValueError(f"{folder.path} has no checkpoint of step {wanted}; it has: {steps}")
    target = output or folder.path / f"export{'_bf16' if is_bf16 else ''}_step_{wanted}"
    has_average = config.learner.ema_decay is not None and not is_bf16  # rl/kept.py writes it beside the target
    for place in (target, target.with_name(f"{target.name}_ema")) if has_average else (target,):
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ValueError(f"{place} is there already; remove it, or give another --output")
    say(f"step {wanted} of {folder.path}")
    settings = learner_settings(config, model_folder_of(config, folder))
    learner = Learner(replace(settings, fake_quantize=settings.fake_quantize and not is_bf16))
    learner.load(found[wanted].folder)
    if is_bf16:  # without the grid the model's own weights are the masters, rounded to BF16
        write_model_folder(target, packed_tensors(learner.model, (), settings.scheme), None, settings.model_folder)
    else:
        learner.export(target)
    return target


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--step", type=int, metavar="N", help="the checkpoint after N steps; by default the newest")
    parser.add_argument("--bf16", action="store_true", help="before they are rounded to INT4, in BF16")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to; by default RUN/export_step_N (_bf16_)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
