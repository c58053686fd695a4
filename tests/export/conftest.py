"""Real runs that the tests of every form export."""

from __future__ import annotations

from pathlib import Path

import pytest

import gpt2eval

TASKS = (
    "lambada@openai,lambada@openai-last-token,wikitext2@lm-eval,hellaswag@lm-eval,blimp@lm-eval,"
    "natural_questions@lm-eval,wmt14_fr_en@lm-eval"
)


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven tasks of demo-base on a dozen bundled samples each."""
    output = tmp_path_factory.mktemp("scored")
    gpt2eval.run(
        models="demo-base", tasks=TASKS, data="bundled", limit_first=12, output=str(output)
    )
    return output


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints on texts that are not the bundled ones, one of them on a subset."""
    root = tmp_path_factory.mktemp("benchmarks")
    samples = Path(gpt2eval.__file__).parent / "samples"
    for name in ("lambada/lambada_test.jsonl", "wikitext2/wiki.test.raw"):
        path = root / "data" / name
        path.parent.mkdir(parents=True)
        path.write_bytes((samples / name).read_bytes())
    for model, tasks, limit in (
        ("demo-base", "lambada,wikitext2", None),
        ("demo-tuned", "lambada", 9),
    ):
        gpt2eval.run(
            models=model,
            tasks=tasks,
            data=str(root / "data"),
            limit=limit,
            output=str(root / "results"),
        )
    return root / "results"
