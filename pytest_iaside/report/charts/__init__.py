"""Charts as SVG, drawn by hand."""
