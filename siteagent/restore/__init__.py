"""From a snapshot to a folder: plan windows of the catalog, write what differs, apply metadata, count the rest.

`worker` writes; it runs in the restoring process or, for large restores, in `process`es of its own. `restorer` leads.
"""
