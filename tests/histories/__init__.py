"""Random histories of people, faults and crashes, played through the real sync and a simulated PagerDuty."""
