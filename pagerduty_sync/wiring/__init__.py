"""How the parts are joined, one floor on the other: stores, account, syncing, one way, administration, hindsight."""
