"""From counters in shared pages to figures: rates, quantiles, the pipeline, summaries and the view."""
