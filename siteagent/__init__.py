"""The site agent: the Backup Server of one site."""
