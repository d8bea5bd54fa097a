"""The only package that imports vLLM: the version it supports, the engine, and the swap of its weights."""
