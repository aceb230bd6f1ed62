"""A subset of DataPrime over the log of deliveries: text to tree, tree to one SQL statement. Runs nothing itself."""
