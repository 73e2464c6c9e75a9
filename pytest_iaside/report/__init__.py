"""What a session says: HTML, charts, terminal table, markdown, JSON, progress line."""
