"""A subset of DataPrime over deliveries and the changes of Cases: text to tree, tree to SQL. Runs nothing itself."""
