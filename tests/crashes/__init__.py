"""A long run that anyone can repeat: many Cases live their lives while a seeded schedule of faults strikes."""
