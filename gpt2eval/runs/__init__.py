"""The runs of one checkpoint: found, opened, scored, finished; whole or in shards."""

from gpt2eval.runs.finishing import complete, finish_all
from gpt2eval.runs.loading import Loaded, load
from gpt2eval.runs.places import directories_of, opened, results_in
from gpt2eval.runs.sharding import run_shard

__all__ = [
    "Loaded",
    "complete",
    "directories_of",
    "finish_all",
    "load",
    "opened",
    "results_in",
    "run_shard",
]
