"""From a view to a draft: compare with the previous snapshot, read what differs, cut, store, build the catalog."""
