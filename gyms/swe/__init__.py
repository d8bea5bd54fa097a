"""Issues in repositories, mended by many turns and judged by hidden tests."""
