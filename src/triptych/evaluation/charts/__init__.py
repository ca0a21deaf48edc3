"""Charts as Vega-Lite specifications, and as the drawings that pages and runs hold."""
