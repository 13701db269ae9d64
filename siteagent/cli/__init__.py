"""The command line: grammar, settings, output and one module per command. Only here functions may import.

`run` leads: `parser` reads the words, `settings` finds home and keys, a `cmd_*` module does the work through
siteagent.jobs and hands figures to `output`.
"""
