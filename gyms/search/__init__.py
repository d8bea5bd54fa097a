"""Questions over a corpus, answered with evidence."""
