"""Support for the tests. Nothing here imports product code: what judges the product must not share its mistakes."""
