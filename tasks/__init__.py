"""The built-in benchmarks, one file each; installed as `gpt2eval_tasks`."""
