"""Scrapbook: tags the photographs of a scanned album and reads its handwritten page numbers."""
