"""Many turns: episodes, their turns and tools, and what checks them."""
