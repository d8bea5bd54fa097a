"""What a run is: the schema, the loader, and the experiments' TOML files.

Imports pydantic, never torch, ray or vllm.
"""
