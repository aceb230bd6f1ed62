"""The house for one machine: a real PostgreSQL and Valkey of its own, and the launcher that brings everything up.

Knows settings, processes, files and ports; refuses to know what the programs it starts are for.
"""
