"""What can be backed up. One contract (`base`), one module per kind of source."""
