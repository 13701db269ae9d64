"""One use case per file; what a command or a schedule can ask for. Only jobs talk to the ledger."""
