"""`python -m gpt2eval` is `gpt2eval`."""

from gpt2eval.cli import main

if __name__ == "__main__":
    main()
