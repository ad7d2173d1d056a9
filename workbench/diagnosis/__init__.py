"""What limits a run: the evidence, and the rule that names one bottleneck from it."""
