"""`python -m pagerduty_sync`: the same program as `pagerduty-sync`."""

from pagerduty_sync.cli import main

main(prog_name="pagerduty-sync")
