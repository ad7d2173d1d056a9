"""The bar that winds a replay."""
