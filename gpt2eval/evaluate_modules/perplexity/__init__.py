"""A module of Hugging Face `evaluate`; the script beside this file is what it loads."""
