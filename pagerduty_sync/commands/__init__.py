"""What an operator types: one module per subject. Everything they do goes through handlers and stores."""
